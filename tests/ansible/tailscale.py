"""A double of the command `tailscale` on a machine: MagicDNS names, and Serve with certificates of its own."""

from pathlib import Path

import trustme

from .machine import File, Machine

TAILNET = "tail1234.ts.net"
PLACE = "/etc/tailscale-double"
COMMAND = Path(__file__).parent / "machines/tailscale"


def name_of(machine: Machine) -> str:
    """Its name on the tailnet."""
    return f"{machine.name}.{TAILNET}"


async def install(machine: Machine, authority: trustme.CA) -> None:
    """Put it on the machine, which trusts the authority from now on."""
    name = name_of(machine)
    certificate = authority.issue_cert(name)
    await machine.lay(
        {
            "/usr/local/bin/tailscale": File(COMMAND.read_bytes(), 0o755),
            f"{PLACE}/name": File(name.encode()),
            f"{PLACE}/certificate.pem": File(certificate.private_key_and_cert_chain_pem.bytes(), 0o600),
            "/usr/local/share/ca-certificates/tailscale-double.crt": File(authority.cert_pem.bytes()),
        }
    )
    await machine.run(f"update-ca-certificates; echo '{machine.tailnet_address} {name}' >>/etc/hosts")
