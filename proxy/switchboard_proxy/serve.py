"""Runs the proxy on its address until it is told to stop."""

import asyncio
import gc
import resource
import signal
from dataclasses import replace

import structlog
import uvloop
from switchboard_relay import Limits, Server
from switchboard_service.listen import open_when_there
from switchboard_service.watched import watch

from .app import Proxy
from .settings import ProxySettings

_log = structlog.get_logger("switchboard_proxy")

RESERVED_DESCRIPTORS = 128
"""For everything but connections of clients and to upstreams."""


def serve(proxy: Proxy, settings: ProxySettings) -> None:
    """Answer requests until SIGTERM or SIGINT, then take no more and give running answers their time to end.

    Raises:
        ListenError: the address cannot be listened on.
    """
    connections = _connections()
    # What is there by now stays: the collector need not look at it again, which takes it 30 ms each time.
    gc.collect()
    gc.freeze()
    uvloop.run(_serve(proxy, settings, connections))


async def _serve(proxy: Proxy, settings: ProxySettings, connections: int) -> None:
    loop = asyncio.get_running_loop()
    stop, look = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, look.set)
    limits = Limits(settings.head_seconds, settings.body_seconds, idle_seconds=settings.idle_seconds)
    server = Server(proxy, replace(limits, connections=connections))
    watching = asyncio.create_task(watch(proxy.secrets, proxy.renew, look=look))
    try:
        await _listen_until(stop, server, settings)
        await server.drain(settings.drain_seconds)
    finally:
        watching.cancel()
        proxy.close()


async def _listen_until(stop: asyncio.Event, server: Server, settings: ProxySettings) -> None:
    opening = asyncio.create_task(open_when_there(settings.listen_address, settings.port))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((opening, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        return
    await server.listen(await opening)
    _log.info("listening", address=str(settings.listen_address), port=settings.port)
    await stopping


def _connections() -> int:
    """How many clients there may be at once: each may need a connection to an upstream as well."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return max(64, min(16_384, (most - RESERVED_DESCRIPTORS) // 2))
