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
from switchboard_relay.wire import Header

from .address import Address, Group
from .audit import Audit
from .consumers import NOBODY, Consumer, Consumers
from .errors import InsufficientScope, InternalError, InvalidKey, RateLimitExceeded, SwitchboardError
from .rate import Rates
from .scopes import Right

_OPEN_PATHS = frozenset(("/healthz", "/readyz"))
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")

_log = structlog.get_logger("switchboard")


@dataclass(slots=True)
class Asked:
    """One request as it is known beyond its surface; `line` is filled on the way and logged at the end."""

    request_id: str
    audit: Audit = field(default_factory=Audit)
    rates: Rates = field(default_factory=Rates)
    who: Consumer = NOBODY
    line: dict[str, Any] = field(default_factory=dict)
    headers: list[Header] = field(default_factory=list)
    """What the answer carries beside its surface's own."""

    @property
    def consumer(self) -> str:
        """The name of who asks; empty where nobody needs a key."""
        return self.who.name

    def require(self, needed: Address | Group | Right) -> None:
        """Let the request go on only if its key is good for this: to ask an address or a group, or another right.

        Raises:
            InsufficientScope: it is not; the audit log has it.
        """
        if self.who.scopes.allows(needed):
            return
        self.note("request", str(needed), InsufficientScope.code)
        raise InsufficientScope(f"this key lacks the scope {needed}; it has {self.who.scopes or 'none'}")

    def count_turn(self) -> None:
        """Count one new turn against the rate of the consumer's key; call it once a turn, before it is opened.

        Raises:
            RateLimitExceeded: there are too many; the audit log has it.
        """
        limit = self.who.turns_per_minute
        if limit is None:
            return
        left = self.rates.take(self.who.name, limit, time.monotonic())
        self.headers += (
            (b"x-ratelimit-limit-requests", b"%d" % left.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % left.remaining),
            (b"x-ratelimit-reset-requests", b"%ds" % left.reset_seconds),
        )
        if not left.is_allowed:
            self.note("request", "turn", RateLimitExceeded.code)
            raise RateLimitExceeded(
                f"this key may open {limit} turns a minute; the next in {left.retry_after_seconds} s",
                retry_after=str(left.retry_after_seconds),
            )

    def note(self, action: str, subject: str, outcome: str = "done") -> None:
        """Put into the audit log what this request did, or was refused."""
        self.audit.note(self.who.name, action, subject, outcome, request_id=self.request_id)

    @staticmethod
    def of(scope: MutableMapping[str, Any]) -> "Asked":
        """What the edge noted of this request."""
        asked: Asked = scope["switchboard"]
        return asked


class BrokenOff(Exception):
    """Raised where an answer that has begun must not end as if it were whole: the server cuts the connection."""


class Edge:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, consumers: Consumers, audit: Audit | None = None) -> None:
        self._app = app
        self._consumers = consumers
        self._audit = audit or Audit()
        self._rates = Rates()

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
