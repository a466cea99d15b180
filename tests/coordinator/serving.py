"""A service for the tests of `serve`: `python -m coordinator.serving DRAIN_SECONDS`, in a process of its own.

It prints its port, answers `/quick` at once and `/slow` when told by SIGUSR1, holds `/endless` open for ever, breaks on
`/broken`, and prints what it releases.
"""

import asyncio
import signal
import sys
from ipaddress import ip_address
from typing import Any

import structlog
from switchboard_coordinator.serve import Drain, serve
from switchboard_service import logs
from switchboard_service.listen import open_listener

go = asyncio.Event()


class Expected(Exception):
    pass


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, go.set)
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                print("lifespan ended", flush=True)
                return
    path = scope["path"]
    if path == "/broken":
        raise RuntimeError("the reason")
    if path == "/expected":
        raise Expected
    if path == "/logged":
        structlog.get_logger("service").info("request", path=path)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"begun ", "more_body": True})
    try:
        if path == "/slow":
            await go.wait()
        if path == "/endless":
            await asyncio.Event().wait()
    finally:
        if path == "/endless":
            await asyncio.sleep(0.05)
            print("released", flush=True)
    await send({"type": "http.response.body", "body": b"ended", "more_body": False})


if __name__ == "__main__":
    logs.configure(expected=(Expected,))
    listener = open_listener(ip_address("127.0.0.1"), 0)
    print(listener.getsockname()[1], flush=True)
    serve(app, [listener], Drain(float(sys.argv[1])))
    print("returned", flush=True)
