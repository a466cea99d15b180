"""A machine that does not answer a connect, as one that sleeps: the port is taken, and every SYN to it is dropped.

Linux drops the SYNs to a listener whose queue of connections is full.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

LOOPBACK = "127.0.0.1"


@contextmanager
def away(port: int = 0) -> Iterator[int]:
    """Away in this block; gives the port, which is free behind it."""
    with socket.create_server((LOOPBACK, port), backlog=0) as listener:
        port = listener.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):
                filler.settimeout(0.05)
                with suppress(TimeoutError):
                    filler.connect((LOOPBACK, port))
            yield port
