"""The way to a machine below HTTP: its name, the tailnet, its port. Knows nothing of what answers there."""

import asyncio
import errno
import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from switchboard_relay import ConnectFailed, ConnectTimedOut, Pool
from switchboard_relay.pool import CONNECT_SECONDS
from switchboard_service.listen import LOOPBACK, TAILNET

from .findings import HopFailed

IpAddress = IPv4Address | IPv6Address
LOOKUP_SECONDS = 10.0


async def resolve(host: str, port: int) -> list[IpAddress]:
    """What a host's name means on this machine, in the order in which connects try it.

    Raises:
        HopFailed: it means nothing here.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise HopFailed("unresolved", f"{host} was not resolved within {LOOKUP_SECONDS:g} s") from None
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that DNS cannot hold
        why = error.strerror if isinstance(error, OSError) else None
        words = f"{host} does not resolve on this machine ({why or 'it is no name of a host'})"
        raise HopFailed("unresolved", words) from None
    return [ip_address(place[0]) for *_, place in found]


def outsider(addresses: list[IpAddress]) -> IpAddress | None:
    """The first that is neither of a tailnet nor of this machine."""
    return next((one for one in addresses if not _is_in(one, TAILNET + LOOPBACK)), None)


def own_address(address: IpAddress, port: int) -> IpAddress | None:
    """The address of this machine that leads there; None where there is no way. Nothing is sent.

    To a tailnet only an address of the tailnet leads: without one, packets would leave towards some other network.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), port))
            own = ip_address(probe.getsockname()[0])
    except OSError:
        return None
    return own if not _is_in(address, TAILNET) or _is_in(own, TAILNET) else None


def _is_in(address: IpAddress, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    return any(address in network for network in networks)


async def connect(address: IpAddress, port: int) -> None:
    """Open a connection and close it.

    Raises:
        HopFailed: none came through; says whether it was refused or nobody answered.
    """
    try:
        connection = await Pool(str(address), port, connect_seconds=CONNECT_SECONDS).connect()
    except ConnectTimedOut:
        raise HopFailed("port_silent", f"nobody answers at port {port} within {CONNECT_SECONDS:g} s") from None
    except ConnectFailed as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.ECONNREFUSED:
            raise HopFailed("port_refused", f"the machine is there, and nothing listens at its port {port}") from None
        raise HopFailed("port_unreachable", f"no connection comes through to port {port} ({error})") from None
    connection.close()
