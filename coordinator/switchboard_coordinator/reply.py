"""One answer on its way to one client: whole, or frame by frame, or an error in the shape that still fits."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from starlette.types import Receive, Scope, Send
from switchboard_relay import BodyTooLarge, ClientLeft, Headers

from .chunks import error_frame
from .edge import error_response
from .errors import RequestTooLarge, SwitchboardError

BODY_LIMIT_BYTES = 10_000_000
"""As much as an agent takes (hermes-agent 0.19.0)."""

_STREAM_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


class Reply:
    """Sends to one ASGI client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.is_begun = False
        self._scope = scope
        self._receive = receive
        self._send = send

    async def begin(self, headers: Headers = ()) -> None:
        """Start a stream: from here on its status is 200."""
        self.is_begun = True
        await self._send({"type": "http.response.start", "status": 200, "headers": [*_STREAM_HEADERS, *headers]})

    async def show(self, frames: list[bytes]) -> None:
        """Send frames of a stream."""
        if frames:
            await self._send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})

    async def end(self) -> None:
        """End a stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, value: object, headers: Headers = ()) -> None:
        """Send one JSON value."""
        body = orjson.dumps(value)
        head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
        await self._send({"type": "http.response.start", "status": 200, "headers": head})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def fail(self, error: SwitchboardError) -> None:
        """Say what went wrong: as a status where none is out yet, else as the last frame, with no end mark."""
        response = error_response(self._scope, error)
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
