"""Ports for programs that listen only seconds later: from below the range that systems give out by themselves.

A port of that range, found free, is soon another's: any connection or listener on the machine may be given it.
"""

import random
import socket

FIRST, LAST = 20_000, 32_000  # Linux gives out ports from 32768 on, others from 49152 on

_given: set[tuple[str, int]] = set()


def port(host: str, wanted: int | None = None) -> int:
    """A free port at `host` that was not given before; `wanted` where it is free."""
    while True:
        tried = wanted or random.randint(FIRST, LAST)  # noqa: S311 - no secret
        wanted = None
        if (host, tried) not in _given and _is_free(host, tried):
            _given.add((host, tried))
            return tried


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((host, port))
        except OSError:
            return False
        return True
