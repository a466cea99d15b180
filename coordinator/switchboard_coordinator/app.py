"""Joins the rooms of the coordinator into one ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send
from switchboard_relay import Pool

from .database import open_database
from .errors import RouteNotFound, SwitchboardError
from .keys.audit import Audit
from .keys.consumers import Consumers
from .keys.rate import Rates
from .peers.admission import Admission
from .peers.breaker import Breaker
from .peers.credential import Credential
from .peers.drains import Drains
from .peers.peer import Peer
from .peers.peers_file import PeersFile
from .peers.roster import Roster
from .peers.watch import Watch
from .serve import Drain
from .settings import CoordinatorSettings
from .surfaces.audit_surface import AuditSurface
from .surfaces.drain_surface import DrainSurface
from .surfaces.edge import Edge, Told, error_response
from .surfaces.intake import Intake
from .surfaces.openai import ChatCompletions, Models
from .surfaces.openapi import OpenApi
from .surfaces.raw import METHODS, Raw
from .surfaces.remote_agent import Invoke
from .surfaces.responses import Responses
from .surfaces.roster_events import RosterEvents
from .surfaces.roster_surface import RosterSurface
from .surfaces.turn_surface import TurnEvents, TurnSurface
from .turns.journal import Journal
from .turns.sessions import Sessions
from .turns.turns import Turns

CHAT = "/v1/chat/completions"


JOURNAL_SECONDS = 5.0
"""How long the journal may take to write what is left when this process ends."""


def create_app(
    settings: CoordinatorSettings,
    peers: PeersFile,
    consumers: Consumers,
    drain: Drain | None = None,
    told: Told | None = None,
) -> Starlette:
    """The coordinator for these peers and consumers; connections are opened in its lifespan and later.

    `told` is given the fields of each request's log line.

    Raises:
        SecretError: a password file is not fit for use.
        DatabaseError: the database is not.
    """
    drain = drain or Drain(0.0)
    roster = Roster(peers)
    known = {
        name: Peer(
            name,
            entry,
            Pool(entry.host, entry.port, is_tls=entry.tls),
            Credential(entry.user, entry.password(settings.secrets_folder)),
            Breaker(),
        )
        for name, entry in peers.peers.items()
    }
    engine = open_database(settings.database_file)
    journal = Journal(
        engine,
        keeps_text=settings.journal == "on",
        days=settings.journal_days,
        megabytes=settings.journal_megabytes,
    )
    audit, rates = Audit(), Rates()
    admission = Admission({name: entry.max_turns for name, entry in peers.peers.items()})
    watch = Watch(roster)

    async def look(peer: str) -> None:
        await watch.look(known[peer])

    drains = Drains(engine, roster, admission, look)
    sessions = Sessions(journal)
    turns = Turns(
        known, roster, journal, sessions, admission, {name: entry.transport for name, entry in peers.peers.items()}
    )
    intake = Intake(roster, admission, sessions, peers.chairs)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await consumers.open(engine)
        writing = asyncio.create_task(journal.keep())
        await drains.open()
        await turns.recover()
        keeping = [asyncio.create_task(watch.keep(peer)) for peer in known.values()]
        keeping += [asyncio.create_task(consumers.keep(engine)), asyncio.create_task(audit.keep(engine))]
        try:
            yield
        finally:
            await turns.close(drain.seconds_left)
            await _end(*keeping)
            journal.end()
            await asyncio.wait((writing,), timeout=JOURNAL_SECONDS)
            await _end(writing)
            for peer in known.values():
                peer.close()
            await engine.dispose()

    chat = ChatCompletions(intake, turns)
    models, turn_surface = Models(roster), TurnSurface(intake, turns)
    roster_surface, raw = RosterSurface(roster, admission), Raw(known, roster, admission)
    drain_surface = DrainSurface(drains, roster, roster_surface)
    app = _Application(
        Edge(chat, consumers, audit, rates, told),
        routes=[
            Route("/v1/models", models.all, methods=["GET"]),
            Route("/v1/models/{id}", models.one, methods=["GET"]),
            Route(CHAT, chat, methods=["POST"]),
            Route("/v1/responses", Responses(known, roster, admission), methods=["POST"]),
            Route("/peers/{peer}/v1/{path:path}", raw, methods=METHODS),
            Route("/peers/{peer}/profiles/{profile}/v1/{path:path}", raw, methods=METHODS),
            Route("/api/turns", turn_surface.begin, methods=["POST"]),
            Route("/api/turns", turn_surface.all, methods=["GET"]),
            Route("/api/turns/{id}", turn_surface.one, methods=["GET"]),
            Route("/api/turns/{id}/events", TurnEvents(turns), methods=["GET"]),
            Route("/api/turns/{id}/cancel", turn_surface.cancel, methods=["POST"]),
            Route("/api/turns/{id}/approvals/{approval}", turn_surface.approve, methods=["POST"]),
            Route("/api/peers", roster_surface.all, methods=["GET"]),
            Route("/api/peers/events", RosterEvents(roster, roster_surface, drain), methods=["GET"]),
            Route("/api/peers/{peer}", roster_surface.one, methods=["GET"]),
            Route("/api/peers/{peer}/drain", drain_surface.drain, methods=["POST"]),
            Route("/api/peers/{peer}/undrain", drain_surface.undrain, methods=["POST"]),
            Route("/api/groups", roster_surface.groups, methods=["GET"]),
            Route("/api/audit", AuditSurface(audit).page, methods=["GET"]),
            Route("/api/remote-agent/invoke", Invoke(intake, turns), methods=["POST"]),
            Route("/openapi.json", OpenApi().answer, methods=["GET"]),
            Route("/healthz", _alive, methods=["GET"]),
            Route("/readyz", _Ready(journal).answer, methods=["GET"]),
        ],
        middleware=[Middleware(Edge, consumers=consumers, audit=audit, rates=rates, told=told)],
        exception_handlers={HTTPException: _no_route, SwitchboardError: _told},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a path is there or is not
    return app


class _Application(Starlette):
    """Starlette's, but for the path that carries nearly every byte: none of its layers stands between the frames."""

    def __init__(self, chat: ASGIApp, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._chat = chat

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or go through one lifespan."""
        if scope["type"] == "http" and scope["path"] == CHAT and scope["method"] == "POST":
            await self._chat(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


async def _end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _alive(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


class _Ready:
    """`GET /readyz`: whether new turns are taken."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def answer(self, _: Request) -> Response:
        """200, or 503 with the reason."""
        trouble = self._journal.trouble
        if trouble is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "unready", "journal": trouble}, status_code=503)


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    words = {404: "there is nothing at this path", 405: "this path does not take this method"}
    told = error_response(request.scope, RouteNotFound(error.status_code, words.get(error.status_code, error.detail)))
    if error.status_code == 405:
        told.headers["allow"] = _allowed(request)
    return told


def _allowed(request: Request) -> str:
    """The methods of all routes at this path; Starlette knows those of the first."""
    routes = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return ", ".join(sorted({method for route in routes for method in route.methods}))


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SwitchboardError)  # noqa: S101 - registered for this type alone
    return error_response(request.scope, error)
