"""Who may ask the API server: Origin, then length, then profile, then key, in the real one's order."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from . import answers
from .gateway import Gateway
from .record import Received, Record

BODY_LIMIT_BYTES = 10_000_000
_UNAUTHORIZED = {"message": "Invalid API key", "type": "invalid_request_error", "code": "invalid_api_key"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """`admit` is the middleware."""

    def __init__(self, gateway: Gateway, record: Record) -> None:
        self._gateway = gateway
        self._record = record

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let it in, or answer. Paths that are none need no key."""
        self._record.receive(Received(request.method, request.path_qs, headers_of(request)))
        if "Origin" in request.headers or request.method == "OPTIONS":
            return web.Response(status=403)
        if (request.content_length or 0) > BODY_LIMIT_BYTES:
            error = {"message": "Request body too large.", "type": "invalid_request_error"}
            return web.json_response({"error": {**error, "param": None, "code": "body_too_large"}}, status=413)
        if profile_of(request, self._gateway) not in self._gateway.profiles:
            return web.json_response({"error": "Unknown or unconfigured profile"}, status=404)
        is_open = request.match_info.http_exception is not None or request.path.removesuffix("/").endswith("/health")
        if not is_open and request.headers.get("Authorization") != f"Bearer {self._gateway.key}":
            return answers.answer({"error": _UNAUTHORIZED}, status=401)
        return await handler(request)


def profile_of(request: web.Request, gateway: Gateway) -> str:
    """Which profile answers: without multiplexing a prefix is ignored."""
    return request.match_info.get("profile", "default") if gateway.multiplex else "default"


def headers_of(request: web.Request) -> dict[str, str]:
    """The headers by their names in lower case."""
    return {name.lower(): value for name, value in request.headers.items()}
