"""Where the programs of a fleet listen: an address each on Linux (all of 127.0.0.0/8 is loopback), else a port each."""

import socket
import sys
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def addresses(count: int) -> list[str]:
    """A loopback address for each machine."""
    return [f"127.0.77.{number}" if sys.platform == "linux" else LOOPBACK for number in range(1, count + 1)]


def free_ports(hosts: list[str], wanted: int | None = None) -> list[int]:
    """A free port at each host, all at once and so all different; `wanted` where it is free."""
    with ExitStack() as stack:
        return [_bound(stack.enter_context(socket.socket()), host, wanted) for host in hosts]


def _bound(held: socket.socket, host: str, wanted: int | None) -> int:
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, wanted or 0))
    except OSError:
        held.bind((host, 0))
    return int(held.getsockname()[1])
