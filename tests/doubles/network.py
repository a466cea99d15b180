"""A network of its own for a program: a namespace that has loopback and the addresses it is given."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Network:
    """Needs root, on Linux."""

    def __init__(self, process: int) -> None:
        self._namespace = f"/proc/{process}/ns/net"
        self.entering = ["nsenter", f"--net={self._namespace}"]
        """What stands before a command that shall run there; the process becomes the command."""

    def add(self, address: str) -> None:
        """Give it an address. IPv6 is there at once: nobody else could have it."""
        self._ip("address", "add", _alone(address), "dev", "lo", *(["nodad"] if ":" in address else []))

    def remove(self, address: str) -> None:
        """Take the address away; connections over it stay."""
        self._ip("address", "delete", _alone(address), "dev", "lo")

    def connect(self, address: str, port: int) -> socket.socket:
        """A connection from within.

        Raises:
            OSError: nobody listens, or the address is not there.
        """

        def connected() -> socket.socket:
            with open(self._namespace) as namespace:  # noqa: PTH123 - no file of a folder
                if _libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            return socket.create_connection((address, port), timeout=5)

        # A thread enters alone, and a socket stays where it was made.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(connected).result()

    def _ip(self, *words: str) -> None:
        subprocess.run([*self.entering, "ip", *words], check=True, timeout=20)


@contextmanager
def network() -> Iterator[Network | None]:
    """A new one, until the block ends; None where this user or machine may not make one."""
    if os.geteuid() or subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        yield None
        return
    with subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up; echo; exec sleep 3600"], stdout=subprocess.PIPE
    ) as held:
        try:
            assert held.stdout is not None
            held.stdout.readline()
            yield Network(held.pid)
        finally:
            held.kill()


def _alone(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"
