"""Serves an app on a socket until told to stop, and lets running answers end within a budget."""

import asyncio
import signal
from typing import TYPE_CHECKING, Any

import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none sends a request into one that is being closed."""
CLEAN_UP_SECONDS = 5.0
"""How long requests that were cut at the end of the drain may take to release what they hold."""


def serve(app: "App", listener: "socket.socket", drain_seconds: float) -> None:
    """Answer requests until SIGTERM or SIGINT, then take no more and give running answers `drain_seconds` to end.

    Returns when everything is released. Must run in the main thread, where signals arrive; raises SystemExit(3) when
    the app's lifespan does not start.
    """
    config = server_config(app)
    config.timeout_graceful_shutdown = drain_seconds  # type: ignore[assignment]  # uvicorn hands it to asyncio.wait_for
    server = uvicorn.Server(config)
    config.app = _release_first(app, server.server_state.tasks)
    # uvicorn raises the signal once more for whoever handled it before; the default would end us with 143, not 0.
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def server_config(app: "App") -> uvicorn.Config:
    """How an app of ours is served, wherever it is: no header and no log line but its own."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


def _release_first(app: "App", running: set[asyncio.Task[None]]) -> "App":
    """The same app, whose lifespan ends after its requests: uvicorn 0.54 does not wait for those that it cancelled."""

    def released(scope: "MutableMapping[str, Any]", receive: "Receive", send: "Send") -> "Awaitable[None]":
        if scope["type"] != "lifespan":
            return app(scope, receive, send)

        async def receive_when_released() -> "Message":
            message = await receive()
            if message["type"] == "lifespan.shutdown" and running:
                await asyncio.wait(running, timeout=CLEAN_UP_SECONDS)
            return message

        return app(scope, receive_when_released, send)

    return released
