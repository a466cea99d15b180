"""What mends each failure that the doctor knows: what is to be done, and where. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Places:
    """Where an operator finds what concerns one peer; no host for one that is in no peers file."""

    peer: str
    peers_file: Path
    host: str = ""
    port: int = 0
    password_file: Path = Path()


_OWN_ADDRESS = "in {peers_file} set `peers.{peer}.host` to the address that `tailscale ip -4` prints on {peer}"
_BOTH_FILES = "{password_file} here and `proxy_password` in the secrets folder of its proxy must hold the same"
_LOGS = "the logs of the agent and of the proxy on {peer} say more"

REMEDIES: Mapping[str, str] = MappingProxyType(
    {
        "unknown_peer": "add it there, or ask for one that it names",
        "unresolved": f"{_OWN_ADDRESS}, or see that this machine uses the tailnet's DNS",
        "outside_tailnet": _OWN_ADDRESS,
        "tailnet_down": "see `tailscale status` here, then `tailscale up`; a container needs the network of its host",
        "port_refused": "on {peer} see `docker ps --all` and start its proxy, whose log says why it ended; or is the "
        "`port` of {peer} in {peers_file} another one than its SWITCHBOARD_PROXY_PORT?",
        "port_silent": "is {peer} awake and on the tailnet (`tailscale ping {host}`), and {host} still its address? "
        "If so, a firewall or a rule of the tailnet drops what comes for port {port}; "
        "where it has another address, deploy",
        "port_unreachable": "see in `tailscale status` here and on {peer} that both are on the same tailnet",
        "not_a_proxy": "mend `host`, `port` or `tls` of {peer} in {peers_file}, or stop on {peer} what has taken port "
        "{port}",
        "tls_failed": "on {peer} see `tailscale serve status`, and that {host} is the name that `tailscale status` has "
        "for it; a proxy without HTTPS needs `tls: false` in {peers_file}",
        "proxy_silent": "on {peer} read the log of what listens at port {port}, and start its proxy again",
        "proxy_ending": "wait until it has been started again",
        "proxy_untold": "the log of the proxy on {peer} says more",
        "caller_unknown": "on {peer} see that tailscaled runs, at the socket that SWITCHBOARD_PROXY_TAILSCALE_SOCKET "
        "names, and that the proxy's container has its folder",
        "other_name": "on {peer} add {host} there, in the `.env` of its proxy, and start it again",
        "password_unfit": f"then {_BOTH_FILES}",
        "password_wrong": f"{_BOTH_FILES}, and `user` in {{peers_file}} its SWITCHBOARD_PROXY_USER",
        "locked_out": f"it has seen many wrong ones from here, and lets a right one pass at once: {_BOTH_FILES}",
        "caller_refused": "on {peer} add this machine's name or tag there, in the `.env` of its proxy",
        "agent_unreachable": "on {peer} start the gateway of profile {profile}, with API_SERVER_KEY in its `.env`, and "
        "see that SWITCHBOARD_PROXY_PROFILES has its port",
        "agent_refuses_key": "on {peer} write the API_SERVER_KEY of profile {profile} into the key file that "
        "SWITCHBOARD_PROXY_PROFILES names for it; an agent reads its own only when it starts",
        "profile_unknown": "on {peer} add {profile} there, or take it out of {peers_file}",
        "profile_not_served": "on {peer} see that the port and prefix of {profile} in SWITCHBOARD_PROXY_PROFILES are "
        "those of its own gateway",
        "turn_failed": "the agent's log on {peer} says more; most often it is the key or the address of its model",
        "turn_refused": "ask again when what it has to do is done",
        "turn_broken": "the agent's log on {peer} says why it ended",
        "turn_late": "a model that is slow needs a larger --turn-seconds; else the agent's log on {peer} says more",
        "turn_wordless": _LOGS,
        "turn_cut": "see how many tokens the model of {profile} on {peer} may write",
        "turn_odd": _LOGS,
    }
)
"""By the code of the failure."""


def sentence(code: str, why: str, places: Places, profile: str | None) -> str:
    """What is wrong and what mends it; `profile` where the failure is one profile's."""
    remedy = REMEDIES[code].format(
        peer=places.peer,
        host=places.host,
        port=places.port,
        peers_file=places.peers_file,
        password_file=places.password_file,
        profile=profile,
    )
    return f"{why} {remedy[0].upper()}{remedy[1:]}" if why.endswith("?") else f"{why}; {remedy}"
