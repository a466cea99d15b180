"""What holds for every request: an id, a consumer, one log line, and errors in the shape its surface speaks."""

import re
import secrets
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .consumers import Consumers
from .errors import InternalError, InvalidKey, SwitchboardError

_OPEN_PATHS = frozenset(("/healthz", "/readyz"))
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

_log = structlog.get_logger("switchboard")


@dataclass(slots=True)
class Asked:
    """One request as it is known beyond its surface; `line` is filled on the way and logged at the end."""

    request_id: str
    consumer: str = ""
    line: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(scope: MutableMapping[str, Any]) -> "Asked":
        """What the edge noted of this request."""
        asked: Asked = scope["switchboard"]
        return asked


class Edge:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, consumers: Consumers) -> None:
        self._app = app
        self._consumers = consumers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through to its surface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        asked = Asked(_request_id(headers.get(b"x-request-id")))
        scope["switchboard"] = asked
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", asked.request_id.encode())]
            await send(message)

        try:
            asked.consumer = self._consumers.who(headers.get(b"authorization")) or ""
            if asked.consumer or scope["path"] in _OPEN_PATHS:
                await self._app(scope, receive, sending)
            else:
                error = InvalidKey("no consumer has this key: send it as `Authorization: Bearer …`")
                await error_response(scope, error)(scope, receive, sending)
        except Exception:
            _log.exception("fault", request_id=asked.request_id)
            if status:
                raise  # part of an answer is out: raising makes the server break it off
            fault = InternalError("something went wrong here; the log has it under this request's id")
            await error_response(scope, fault)(scope, receive, sending)
        finally:
            _log.info(
                "request",
                request_id=asked.request_id,
                consumer=asked.consumer,
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round((time.perf_counter() - began) * 1000, 1),
                **asked.line,
            )


def error_response(scope: MutableMapping[str, Any], error: SwitchboardError) -> Response:
    """An error as the path's surface tells it: OpenAI's envelope on `/v1/*`, RFC 9457 elsewhere."""
    Asked.of(scope).line["code"] = error.code
    is_openai = scope["path"].startswith("/v1/")
    headers = {"x-switchboard-started": error.started}
    if error.retry_after:
        headers["retry-after"] = error.retry_after
    if isinstance(error, InvalidKey):
        headers["www-authenticate"] = "Bearer"
    return Response(
        orjson.dumps(error.envelope() if is_openai else error.problem()),
        status_code=error.status,
        headers=headers,
        media_type="application/json" if is_openai else "application/problem+json",
    )


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return "req_" + secrets.token_hex(16)
