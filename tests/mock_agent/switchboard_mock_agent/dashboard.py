"""A stand-in for the dashboard: its page, its public status, its Host check; and the record of this mock."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from .door import headers_of
from .gateway import VERSION
from .record import Received, Record

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Hermes Agent</title>
<script>window.__HERMES_SESSION_TOKEN__="mock-session-token";</script></head>
<body><div id="root">mock hermes-agent dashboard</div></body></html>
"""
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_REFUSAL = "Invalid Host header. Dashboard requests must use the hostname the server was bound to."

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Dashboard:
    """The routes."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def app(self) -> web.Application:
        """The application; a path that it does not know is the page, as in the real one."""
        app = web.Application(middlewares=[self._door])
        app.router.add_get("/api/status", self._status, allow_head=False)
        app.router.add_get("/mock/turns", self._turns, allow_head=False)
        app.router.add_get("/{path:(?!api/).*}", self._page, allow_head=False)
        return app

    @web.middleware
    async def _door(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._record.receive(Received(request.method, request.path_qs, headers_of(request)))
        host = request.headers.get("Host", "")
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        if name not in _LOOPBACK_NAMES:
            return web.json_response({"detail": _REFUSAL}, status=400)
        return await handler(request)

    async def _page(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=PAGE, content_type="text/html", headers={"Cache-Control": "no-store"})

    async def _status(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"version": VERSION, "gateway_running": True, "gateway_state": "running"})

    async def _turns(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"turns": [turn.told() for turn in self._record.turns]})
