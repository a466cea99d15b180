"""The tailnet of simulated machines: who has which address and key, and what WireGuard is told of it. Pure."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

INTERFACE = "tailscale0"
PORT = 51820
KEEPALIVE_SECONDS = 5
"""A machine that comes back speaks first; its peers would go on for 15 s with keys that it has lost."""
RANGE = ipaddress.ip_network("100.64.0.0/10")


@dataclass(frozen=True)
class Node:
    """One machine's place in the mesh; keys as `wg` writes them."""

    lan_address: str
    tailnet_address: str
    private_key: str
    public_key: str


def configuration(name: str, nodes: Mapping[str, Node]) -> str:
    """What `wg setconf` of the machine `name` reads: itself, and every other as a peer."""
    sections = [f"[Interface]\nPrivateKey = {nodes[name].private_key}\nListenPort = {PORT}\n"]
    sections += [
        f"[Peer]\nPublicKey = {node.public_key}\nEndpoint = {node.lan_address}:{PORT}\n"
        f"AllowedIPs = {node.tailnet_address}/32\nPersistentKeepalive = {KEEPALIVE_SECONDS}\n"
        for other, node in nodes.items()
        if other != name
    ]
    return "\n".join(sections)


def address(number: int) -> str:
    """The tailnet address of the machine with this number, counted from 1."""
    return str(RANGE.network_address + number)
