"""The API server, on aiohttp as the real one: who may ask, which profile answers, how a turn goes on."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import chat
from .chat import Completion, Refused
from .directives import Directives, parse
from .record import Received, Record, Turn

VERSION = "0.19.0"
BODY_LIMIT_BYTES = 10_000_000
KEEPALIVE_SECONDS = 30.0

_SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",
    "Referrer-Policy": "no-referrer",
}
_TRUE = frozenset(("true", "1", "yes", "on"))
_UNAUTHORIZED = {"message": "Invalid API key", "type": "invalid_request_error", "code": "invalid_api_key"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Gateway:
    """What one agent is: its name, the profiles of its gateway, its limits."""

    name: str
    key: str
    profiles: tuple[str, ...]
    multiplex: bool
    max_turns: int
    keepalive_seconds: float = KEEPALIVE_SECONDS


class Api:
    """The routes."""

    def __init__(self, gateway: Gateway, record: Record) -> None:
        self._gateway = gateway
        self._record = record

    def app(self) -> web.Application:
        """The application; each route also stands below `/p/<profile>`."""
        app = web.Application(middlewares=[self._door], client_max_size=BODY_LIMIT_BYTES)
        for prefix in ("", "/p/{profile}"):
            app.router.add_get(f"{prefix}/health", self._health, allow_head=False)
            app.router.add_get(f"{prefix}/v1/health", self._health, allow_head=False)
            app.router.add_get(f"{prefix}/health/detailed", self._detailed, allow_head=False)
            app.router.add_get(f"{prefix}/v1/models", self._models, allow_head=False)
            app.router.add_post(f"{prefix}/v1/chat/completions", self._chat)
        return app

    @web.middleware
    async def _door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Origin, then length, then profile, then key: in the real one's order. Paths that are none need no key."""
        self._record.requests.append(Received(request.method, request.path_qs, _headers(request)))
        if "Origin" in request.headers or request.method == "OPTIONS":
            return web.Response(status=403)
        if (request.content_length or 0) > BODY_LIMIT_BYTES:
            error = {"message": "Request body too large.", "type": "invalid_request_error"}
            return web.json_response({"error": {**error, "param": None, "code": "body_too_large"}}, status=413)
        if self._gateway.multiplex and request.match_info.get("profile", "default") not in self._gateway.profiles:
            return web.json_response({"error": "Unknown or unconfigured profile"}, status=404)
        is_open = request.match_info.http_exception is not None or request.path.removesuffix("/").endswith("/health")
        if not is_open and request.headers.get("Authorization") != f"Bearer {self._gateway.key}":
            return _error(401, _UNAUTHORIZED)
        return await handler(request)

    def _profile(self, request: web.Request) -> str:
        """Who answers: without multiplexing the prefix is ignored."""
        return request.match_info.get("profile", "default") if self._gateway.multiplex else "default"

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return _json({"status": "ok", "platform": "hermes-agent", "version": VERSION})

    async def _detailed(self, _: web.Request) -> web.StreamResponse:
        running = sum(turn.state == "running" for turn in self._record.turns)
        checks: dict[str, Any] = {name: {"status": "ok"} for name in ("state_db", "config", "model")}
        checks["gateway"] = {"status": "ok", "state": "running", "connected_platforms": 1, "platforms": 1}
        return _json(
            {
                "status": "ok",
                "readiness": {"status": "ok", "checks": checks},
                "platform": "hermes-agent",
                "version": VERSION,
                "gateway_state": "running",
                "active_agents": running,
                "gateway_busy": running > 0,
                "gateway_drainable": running == 0,
            }
        )

    async def _models(self, request: web.Request) -> web.StreamResponse:
        profile = self._profile(request)
        name = "hermes-agent" if profile == "default" else profile
        model = {"id": name, "object": "model", "created": 1_800_000_000, "owned_by": "hermes"}
        return _json({"object": "list", "data": [{**model, "permission": [], "root": name, "parent": None}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        running = sum(turn.state == "running" for turn in self._record.turns)
        if running >= self._gateway.max_turns:
            message = f"Too many concurrent runs (max {self._gateway.max_turns})"
            error = {"message": message, "type": "rate_limit_error", "param": None, "code": "rate_limit_exceeded"}
            return _error(429, error, {"Retry-After": "1"})
        try:
            body = json.loads(await request.read())
        except (ValueError, web.HTTPRequestEntityTooLarge):
            error = {"message": "Invalid JSON in request body", "type": "invalid_request_error"}
            return _error(400, {**error, "param": None, "code": None})
        if not isinstance(body, dict):
            raise TypeError("the body is no object")  # the real one stumbles too: 500
        try:
            text = chat.last_user_text(body.get("messages"))
        except Refused as refused:
            return _error(400, refused.error)
        stream = body.get("stream", False)
        is_stream = stream is True or str(stream).lower() in _TRUE
        turn = Turn(self._profile(request), text, is_stream, _headers(request), body)
        self._record.turns.append(turn)
        return await (self._stream(request, turn) if is_stream else self._whole(request, turn))

    async def _whole(self, request: web.Request, turn: Turn) -> web.StreamResponse:
        """The whole answer at the end. It is not noticed when the client leaves: the turn runs to its end."""
        words = parse(turn.text)
        completion = Completion(turn.body.get("model") or "hermes-agent")
        if words.fail is not None:
            turn.state = "failed"
            told = _provider_failure(words.fail)
            headers = {"X-Hermes-Completed": "false", "X-Hermes-Partial": "false", "X-Hermes-Error": told}
            answer = completion.whole(told, "error", chat.NO_USAGE, hermes=chat.failure(told))
            return _json(answer, {**_session(request, turn), **headers})
        text = self._text(turn, words)
        pieces = -(-len(text) // chat.PIECE_CHARACTERS)
        await asyncio.sleep(words.silence + words.delay * (pieces / 2 if words.die else pieces))
        if words.die:
            turn.state = "died"
            return _cut(request, web.StreamResponse())
        turn.state = "finished"
        return _json(completion.whole(text, "stop", chat.usage(turn.text, text)), _session(request, turn))

    async def _stream(self, request: web.Request, turn: Turn) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        response.headers.update(_session(request, turn))
        response.enable_chunked_encoding()
        try:
            await response.prepare(request)
            await self._speak(request, response, turn)
        except ConnectionError:
            turn.state = "interrupted"
        except asyncio.CancelledError:  # the gateway stops
            turn.state = "interrupted"
            raise
        return response

    async def _speak(self, request: web.Request, response: web.StreamResponse, turn: Turn) -> None:
        words = parse(turn.text)
        completion = Completion(turn.body.get("model") or "hermes-agent")
        await response.write(completion.role())
        await self._be_silent(words.silence, response)
        if words.fail is not None:
            turn.state = "failed"
            told = _provider_failure(words.fail)
            error = {"message": told, "type": "agent_error"}
            last = completion.last("error", chat.NO_USAGE, error=error, hermes=chat.failure(told))
            await _write_all(response, (last, chat.DONE))
            return
        if words.tool is not None:
            await _write_all(response, chat.tool_frames(*words.tool))
        text = self._text(turn, words)
        frames = list(completion.texts(f"\n\n{text}" if words.tool else text))
        for number, piece in enumerate(frames):
            if words.die and number >= len(frames) // 2:
                turn.state = "died"
                _cut(request, response)
                return
            await self._be_silent(words.delay, response)
            await response.write(piece)
        await _write_all(response, (completion.last("stop", chat.usage(turn.text, text)), chat.DONE))
        turn.state = "finished"

    def _text(self, turn: Turn, words: Directives) -> str:
        name = self._gateway.name if turn.profile == "default" else f"{self._gateway.name}/{turn.profile}"
        return f"[{name}] echo: " + " ".join([words.text] * words.repeat)

    async def _be_silent(self, seconds: float, response: web.StreamResponse) -> None:
        """Nothing but a comment now and then."""
        while seconds > self._gateway.keepalive_seconds:
            await asyncio.sleep(self._gateway.keepalive_seconds)
            seconds -= self._gateway.keepalive_seconds
            await response.write(chat.KEEPALIVE)
        await asyncio.sleep(seconds)


def _headers(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _write_all(response: web.StreamResponse, frames: Iterable[bytes]) -> None:
    for each in frames:
        await response.write(each)


def _provider_failure(status: int) -> str:
    return f"HTTP {status}: the model was told to fail"


def _session(request: web.Request, turn: Turn) -> dict[str, str]:
    """The session of the answer: the client's, or one that the first message makes."""
    given = request.headers.get("X-Hermes-Session-Id") or chat.session_id(turn.body["messages"])
    key = request.headers.get("X-Hermes-Session-Key")
    return {"X-Hermes-Session-Id": given, **({"X-Hermes-Session-Key": key} if key else {})}


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """End the connection here and now, in the middle of whatever was being sent."""
    if request.transport is not None:
        request.transport.abort()
    return response


def _json(value: object, headers: dict[str, str] | None = None, *, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers={**(headers or {}), **_SECURITY_HEADERS})


def _error(status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return _json({"error": error}, headers, status=status)
