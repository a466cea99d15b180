"""The socket that a service listens on: which addresses may be used, and how it is opened.

What is set on the listening socket holds for every connection that it accepts (Linux): a peer that vanished without a
word is noticed within 30 s.
"""

import asyncio
import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import count

import structlog

TAILNET = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))
LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
BACKLOG = 2048
RETRY_SECONDS = 0.5
TOLD_EVERY_SECONDS = 60.0

_log = structlog.get_logger("switchboard_service")

_OPTIONS = (
    ("SO_REUSEADDR", socket.SOL_SOCKET, 1),
    ("SO_KEEPALIVE", socket.SOL_SOCKET, 1),
    ("TCP_NODELAY", socket.IPPROTO_TCP, 1),
    ("TCP_KEEPIDLE", socket.IPPROTO_TCP, 10),
    ("TCP_KEEPINTVL", socket.IPPROTO_TCP, 5),
    ("TCP_KEEPCNT", socket.IPPROTO_TCP, 4),
    ("TCP_USER_TIMEOUT", socket.IPPROTO_TCP, 30_000),
)


class UntrustedAddress(Exception):
    """The address is neither in a tailnet nor loopback. The text says what to set."""


class ListenError(Exception):
    """The socket could not be opened. The text says why and what to do."""


class AddressMissing(ListenError):
    """The address is not on this machine, or not yet: a tailnet comes up after what it carries."""


def check_address(address: IPv4Address | IPv6Address, allow_untrusted: bool, variable: str) -> None:
    """Let pass what only the tailnet or this machine can reach.

    Args:
        address: where the service shall listen.
        allow_untrusted: the operator said that any address will do.
        variable: the environment variable that holds the address, to name it in the error.

    Raises:
        UntrustedAddress: anyone on some other network could reach it.
    """
    if allow_untrusted or any(address in network for network in TAILNET + LOOPBACK):
        return
    raise UntrustedAddress(
        f"{variable} is {address}, which others than the tailnet can reach: "
        f"set it to an address of {TAILNET[0]}, {TAILNET[1]} or loopback"
    )


def open_listener(address: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """A listening, non-blocking TCP socket at exactly this address; port 0 takes a free one.

    Raises:
        ListenError: the address is not on this machine, or the port is taken or not allowed.
    """
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:  # a kernel without this version of IP
        raise ListenError(_reason(error, address, port)) from error
    try:
        for name, level, value in _OPTIONS:
            if (option := getattr(socket, name, None)) is not None:
                listener.setsockopt(level, option, value)
        listener.bind((str(address), port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        kind = AddressMissing if error.errno == errno.EADDRNOTAVAIL else ListenError
        raise kind(_reason(error, address, port)) from error
    listener.setblocking(False)
    return listener


def open_those_there(
    addresses: Iterable[IPv4Address | IPv6Address], port: int
) -> tuple[list[socket.socket], list[tuple[IPv4Address | IPv6Address, int]]]:
    """Sockets for those that are on this machine, and what is left for `open_when_there`.

    Raises:
        ListenError: the port is taken or not allowed, or an address of loopback is not there.
    """
    listeners: list[socket.socket] = []
    awaited = []
    try:
        for address in addresses:
            try:
                listeners.append(open_listener(address, port))
            except AddressMissing:
                if address.is_loopback:
                    raise
                awaited.append((address, port))
    except ListenError:
        for listener in listeners:
            listener.close()
        raise
    return listeners, awaited


async def open_when_there(address: IPv4Address | IPv6Address, port: int) -> socket.socket:
    """`open_listener`, as soon as the address is on this machine; until then a line in the log says so each minute.

    Once open, the socket outlives its address: Linux delivers to it again when the address came back, so nothing has
    to be opened anew (seen with both versions of IP on Linux 6.18; a test of the proxy holds it).

    Raises:
        ListenError: the port is taken or not allowed, or the address is loopback, which never comes late.
    """
    for attempt in count():
        try:
            return open_listener(address, port)
        except AddressMissing as error:
            if address.is_loopback:
                raise
            if attempt % (TOLD_EVERY_SECONDS // RETRY_SECONDS) == 0:
                _log.warning("waits_for_address", address=str(address), port=port, problem=str(error))
        await asyncio.sleep(RETRY_SECONDS)
    raise AssertionError("counting has no end")


def _reason(error: OSError, address: IPv4Address | IPv6Address, port: int) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {address} is taken: stop what listens there or choose another port"
        case errno.EADDRNOTAVAIL:
            return f"{address} is not an address of this machine: is its network (the tailnet) up?"
        case errno.EACCES:
            return f"port {port} of {address} may not be opened by this user: choose one above 1023"
        case _:
            return f"cannot listen on {address} port {port}: {error.strerror}"
