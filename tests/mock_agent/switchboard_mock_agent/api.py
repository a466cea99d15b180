"""The API server, on aiohttp as the real one: every route, and those that only tell how the gateway is."""

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from . import answers
from .chat import Chat
from .door import BODY_LIMIT_BYTES, Door, profile_of
from .gateway import VERSION, Gateway
from .record import Record
from .responses import Responses, ResponseStore
from .runs import Runs
from .sessions import Sessions, SessionSurface
from .turns import Turns


class Api:
    """What a gateway keeps over a restart is made once, what it loses is made in `app`."""

    def __init__(self, gateway: Gateway, record: Record) -> None:
        self._gateway = gateway
        self._record = record
        self._turns = Turns(gateway, record, Sessions(record.keep))
        self._responses = Responses(self._turns, ResponseStore())

    def app(self) -> web.Application:
        """A fresh application; each route also stands below `/p/<profile>`."""
        chat, runs = Chat(self._turns), Runs(self._turns)
        sessions = SessionSurface(self._turns.sessions, self._gateway)
        app = web.Application(middlewares=[Door(self._gateway, self._record).admit], client_max_size=BODY_LIMIT_BYTES)

        async def ending(_: web.Application) -> AsyncIterator[None]:
            yield
            await chat.close()
            await runs.close()

        app.cleanup_ctx.append(ending)
        for prefix in ("", "/p/{profile}"):
            for path, shown in (
                ("/health", self._health),
                ("/v1/health", self._health),
                ("/health/detailed", self._detailed),
                ("/v1/models", self._models),
                ("/v1/runs/{run}", runs.status),
                ("/v1/runs/{run}/events", runs.events),
                ("/v1/responses/{response}", self._responses.show),
                ("/api/sessions/{session}/messages", sessions.messages),
            ):
                app.router.add_get(prefix + path, shown, allow_head=False)
            for path, done in (
                ("/v1/chat/completions", chat.completions),
                ("/v1/responses", self._responses.create),
                ("/v1/runs", runs.start),
                ("/v1/runs/{run}/stop", runs.stop),
                ("/v1/runs/{run}/approval", runs.approve),
            ):
                app.router.add_post(prefix + path, done)
            app.router.add_delete(f"{prefix}/v1/responses/{{response}}", self._responses.delete)
        return app

    async def _health(self, _: web.Request) -> web.StreamResponse:
        return answers.answer({"status": "ok", "platform": "hermes-agent", "version": VERSION})

    async def _detailed(self, _: web.Request) -> web.StreamResponse:
        running = self._record.running
        status = "degraded" if self._gateway.is_degraded else "ok"
        state = "draining" if self._gateway.is_draining else "running"
        checks: dict[str, Any] = {"state_db": {"status": "ok"}, "config": {"status": "ok"}, "model": {"status": status}}
        checks["gateway"] = {"status": "ok", "state": state, "connected_platforms": 1, "platforms": 1}
        return answers.answer(
            {
                "status": status,
                "readiness": {"status": status, "checks": checks},
                "platform": "hermes-agent",
                "version": VERSION,
                "gateway_state": state,
                "active_agents": running,
                "gateway_busy": running > 0 and state == "running",
                "gateway_drainable": state == "running",
            }
        )

    async def _models(self, request: web.Request) -> web.StreamResponse:
        profile = profile_of(request, self._gateway)
        name = "hermes-agent" if profile == "default" else profile
        model = {"id": name, "object": "model", "created": 1_800_000_000, "owned_by": "hermes"}
        return answers.answer({"object": "list", "data": [{**model, "permission": [], "root": name, "parent": None}]})
