"""What holds for every request: an id, a consumer, one log line, and errors in the shape its surface speaks."""

import re
import secrets
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import orjson
import structlog
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard_coordinator.errors import (
    InternalError,
    InvalidKey,
    SwitchboardError,
)
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.keys.audit import Audit
from switchboard_coordinator.keys.consumers import Consumers
from switchboard_coordinator.keys.rate import Rates

_OPEN_PATHS = frozenset(("/healthz", "/readyz"))
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

_log = structlog.get_logger("switchboard")


Told = Callable[[dict[str, Any]], None]


def _tell(fields: dict[str, Any]) -> None:
    _log.info("request", **fields)


class BrokenOff(Exception):
    """Raised where an answer that has begun must not end as if it were whole: the server cuts the connection."""


class Edge:
    """Wraps the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        consumers: Consumers,
        audit: Audit | None = None,
        rates: Rates | None = None,
        told: Told | None = None,
    ) -> None:
        """`told` is given the fields of each request's log line; without it structlog is."""
        self._told = told or _tell
        self._app = app
        self._consumers = consumers
        self._audit = audit or Audit()
        self._rates = rates or Rates()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request through to its surface."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        asked = Asked(_request_id(headers.get(b"x-request-id")), self._audit, self._rates)
        scope["switchboard"] = asked
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = (b"x-request-id", asked.request_id.encode())
                message["headers"] = [*message["headers"], own, *asked.headers]
            await send(message)

        try:
            who = self._consumers.who(headers.get(b"authorization"))
            if who is not None:
                asked.who = who
            if who is not None or scope["path"] in _OPEN_PATHS:
                await self._app(scope, receive, sending)
            else:
                error = self._stranger(scope, headers.get(b"authorization"))
                await error_response(scope, error)(scope, receive, sending)
        except BrokenOff:
            raise
        except Exception:
            _log.exception("fault", request_id=asked.request_id)
            if status:
                raise  # part of an answer is out: raising makes the server break it off
            fault = InternalError("something went wrong here; the log has it under this request's id")
            await error_response(scope, fault)(scope, receive, sending)
        finally:
            self._told(
                {
                    "request_id": asked.request_id,
                    "consumer": asked.consumer,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": status,
                    "duration_ms": round((time.perf_counter() - began) * 1000, 1),
                    **asked.line,
                }
            )

    def _stranger(self, scope: Scope, authorization: bytes | None) -> InvalidKey:
        """The refusal of someone without a key that counts, noted under the address that it came from."""
        stranger = self._consumers.stranger(authorization)
        host = scope["client"][0] if scope.get("client") else ""
        self._audit.note(
            stranger.consumer, "authenticate", host, stranger.outcome, request_id=Asked.of(scope).request_id
        )
        return InvalidKey(stranger.words)


def error_response(scope: MutableMapping[str, Any], error: SwitchboardError) -> Response:
    """An error as the path's surface tells it: OpenAI's envelope on `/v1/*` and `/peers/*`, RFC 9457 elsewhere."""
    Asked.of(scope).line["code"] = error.code
    is_openai = scope["path"].startswith(("/v1/", "/peers/"))
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
