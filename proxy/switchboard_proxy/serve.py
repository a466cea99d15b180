"""Runs the proxy on its address until it is told to stop."""

import asyncio
import signal
import socket

import uvloop
from switchboard_relay import Server

from .app import Proxy


def serve(proxy: Proxy, listener: socket.socket, drain_seconds: float) -> None:
    """Answer requests until SIGTERM or SIGINT, then take no more and give running answers `drain_seconds` to end."""
    uvloop.run(_serve(proxy, listener, drain_seconds))


async def _serve(proxy: Proxy, listener: socket.socket, drain_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = Server(proxy)
    await server.listen(listener)
    await stop.wait()
    await server.drain(drain_seconds)
    proxy.close()
