"""An ASGI application under a real server on loopback, in the event loop of the test."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import uvicorn
from switchboard_coordinator.serve import server_config
from switchboard_service.listen import open_listener
from waiting import until

END_SECONDS = 5.0


def listening() -> socket.socket:
    """A socket on a free port of loopback, for an app that must know its port before it is made."""
    return open_listener(ip_address("127.0.0.1"), 0)


@asynccontextmanager
async def serving(app: Any, listener: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve the app in this block, its lifespan included; gives its URL.

    Requests that still run at the end of the block are cancelled.
    """
    listener = listener or listening()
    host, port = listener.getsockname()
    config = server_config(app)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    assert server.started, "the app's lifespan did not start"
    try:
        yield f"http://{host}:{port}"
    finally:
        # Server.shutdown would do, and waits a tenth of a second for nothing.
        for listening_server in server.servers:
            listening_server.close()
        for task in [*server.server_state.tasks]:
            task.cancel()
        for connection in [*server.server_state.connections]:
            connection.shutdown()
        running = server.server_state
        await until(lambda: not running.connections and not running.tasks, seconds=END_SECONDS)
        async with asyncio.timeout(END_SECONDS):
            await server.lifespan.shutdown()
            for listening_server in server.servers:
                await listening_server.wait_closed()
