"""One answer on its way to one client: whole, or frame by frame, or an error in the shape that still fits."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.types import Receive, Scope, Send
from switchboard_relay import BodyTooLarge, ClientLeft, Headers

from switchboard_coordinator.errors import RequestTooLarge, SwitchboardError
from switchboard_coordinator.groups.chunks import error_frame
from switchboard_coordinator.sse import KEEPALIVE

from .edge import error_response

BODY_LIMIT_BYTES = 10_000_000
"""As much as an agent takes (hermes-agent 0.19.0)."""
QUIET_SECONDS = 5.0
"""No client waits longer than this without a byte once its answer has begun."""

_STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Reply:
    """Sends to one ASGI client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.is_begun = False
        self.headers: Headers = ()
        """What the answer says of itself, beside its type."""
        self._sent_at = time.monotonic()
        self._scope = scope
        self._receive = receive
        self._send = send

    async def begin(self) -> None:
        """Start a stream, if it is not begun: from here on its status is 200."""
        if not self.is_begun:
            self.is_begun = True
            headers = [*_STREAM_HEADERS, *self.headers]
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def show(self, frames: list[bytes]) -> None:
        """Send frames of a stream."""
        if frames:
            self._sent_at = time.monotonic()
            await self._send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})

    async def keep_warm(self, seconds: float, held: list[bytes] | None = None) -> None:
        """Send a comment where nothing was sent for so long, and before it what is held: the stream begins at last."""
        if time.monotonic() - self._sent_at >= seconds:
            await self.begin()
            await self.show([*(held or ()), KEEPALIVE])
            if held:
                held.clear()

    async def end(self) -> None:
        """End a stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, value: object, *, status: int = 200) -> None:
        """Send one JSON value."""
        body = orjson.dumps(value)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *self.headers]
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def fail(self, error: SwitchboardError) -> None:
        """Say what went wrong: as a status where none is out yet, else as the last frame, with no end mark."""
        response = error_response(self._scope, error)
        response.raw_headers += self.headers
        if not self.is_begun:
            await response(self._scope, self._receive, self._send)
            return
        await self.show([error_frame(error)])
        await self.end()


@asynccontextmanager
async def failures_told(reply: Reply) -> AsyncIterator[None]:
    """Tell the client what goes wrong in this block, if it is still there."""
    try:
        yield
    except BodyTooLarge as error:
        await reply.fail(RequestTooLarge(f"the body has more than the {error.limit} bytes that an agent takes"))
    except SwitchboardError as error:
        await reply.fail(error)
    except ClientLeft:
        pass
