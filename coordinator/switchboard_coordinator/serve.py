"""Serves an app on its sockets until told to stop, and lets running answers end within a budget."""

import asyncio
import gc
import signal
import time
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from switchboard_service.listen import ListenError, open_when_there

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, MutableMapping, Sequence
    from ipaddress import IPv4Address, IPv6Address
    from types import FrameType

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]
    Place = tuple[IPv4Address | IPv6Address, int]

KEEP_ALIVE_SECONDS = 75
"""Longer than clients keep an idle connection, so that none sends a request into one that is being closed."""
GARBAGE_OBJECTS = 10_000
"""So many new objects are made before it is looked for those that hold each other; few do."""
CLEAN_UP_SECONDS = 5.0
"""How long requests that were cut at the end of the drain may take to release what they hold."""

_log = structlog.get_logger("switchboard")


class Drain:
    """How long what runs may go on after the signal to stop."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end: float | None = None

    def begin(self) -> None:
        """The signal came."""
        if self._end is None:
            self._end = time.monotonic() + self.seconds

    @property
    def has_begun(self) -> bool:
        """Whether the signal came: what would never end by itself is to end now."""
        return self._end is not None

    @property
    def seconds_left(self) -> float:
        """What is left of it; none where no signal came: then somebody else decided to stop."""
        return 0.0 if self._end is None else max(0.0, self._end - time.monotonic())


def serve(app: "App", listeners: "Sequence[socket.socket]", drain: Drain, awaited: "Sequence[Place]" = ()) -> None:
    """Answer requests until SIGTERM or SIGINT, then take no more and give running answers their time to end.

    `awaited` are addresses and ports that are not on this machine yet: each is listened on as soon as it is there, and
    the listeners answer meanwhile. Returns when everything is released. Must run in the main thread, where signals
    arrive; raises SystemExit(3) when the app's lifespan does not start.

    Raises:
        ListenError: an address came, and its port is taken or not allowed.
    """
    config = server_config(app)
    config.timeout_graceful_shutdown = drain.seconds  # type: ignore[assignment]  # uvicorn hands it to asyncio.wait_for
    server = _Server(config, awaited, drain)
    config.app = _release_first(app, server.server_state.tasks)
    # uvicorn raises the signal once more for whoever handled it before; the default would end us with 143, not 0.
    before = {number: signal.signal(number, server.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
    # What is loaded by now stays: looking through it again and again would stop every stream for tens of milliseconds.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    try:
        server.run(sockets=[*listeners])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if server.trouble is not None:
        raise server.trouble


class _Server(uvicorn.Server):
    """Uvicorn's, which takes more listeners while it runs.

    Attributes:
        trouble: why one of them could not be opened, which ends it.
    """

    def __init__(self, config: uvicorn.Config, awaited: "Sequence[Place]", drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain
        self.trouble: ListenError | None = None
        self._awaited = awaited
        self._opening: list[asyncio.Task[None]] = []

    def handle_exit(self, sig: int, frame: "FrameType | None") -> None:
        """The signal came: uvicorn takes it in the place of every handler that was set before."""
        self._drain.begin()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Begin to answer, and to wait for what is missing."""
        await super().startup(sockets)
        self._opening = [asyncio.create_task(self._open(*place)) for place in self._awaited]

    async def shutdown(self, sockets: "list[socket.socket] | None" = None) -> None:
        """Wait no longer, and end."""
        for opening in self._opening:
            opening.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        await super().shutdown(sockets)

    async def _open(self, address: "IPv4Address | IPv6Address", port: int) -> None:
        try:
            listener = await open_when_there(address, port)
        except ListenError as error:
            self.trouble, self.should_exit = error, True
            return
        server = await asyncio.get_running_loop().create_server(self._protocol, sock=listener)
        self.servers.append(server)
        _log.info("listening", address=str(address), port=port)

    def _protocol(self) -> asyncio.Protocol:
        """What uvicorn 0.54 makes of a connection to the sockets that it opens itself."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]  # it names no class of its own
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made


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
