"""Joins the rooms of the coordinator into one ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .consumers import Consumers
from .edge import Edge, error_response
from .errors import RouteNotFound, SwitchboardError
from .openai import ChatCompletions, Models
from .peer import Credential, Peer
from .peers_file import PeersFile
from .remote_agent import Invoke
from .roster import Roster
from .roster_surface import RosterSurface
from .settings import CoordinatorSettings
from .transport import Transport
from .turns import Turns
from .watch import Watch


def create_app(settings: CoordinatorSettings, peers: PeersFile, consumers: Consumers) -> Starlette:
    """The coordinator for these peers and consumers; connections are opened in its lifespan and later.

    Raises:
        SecretError: a password file is not fit for use.
    """
    transport = Transport()
    roster = Roster(peers)
    known = {
        name: Peer(
            name,
            entry,
            transport.pool(entry.host, entry.port),
            Credential(entry.user, entry.password(settings.secrets_folder)),
        )
        for name, entry in peers.peers.items()
    }
    turns = Turns(known)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with httpx.AsyncClient(transport=transport) as client:
            watch = Watch(roster, client)
            watching = [asyncio.create_task(watch.keep(peer)) for peer in known.values()]
            try:
                yield
            finally:
                for task in watching:
                    task.cancel()
                for task in watching:
                    with suppress(asyncio.CancelledError):
                        await task

    models, roster_surface = Models(roster), RosterSurface(roster)
    app = Starlette(
        routes=[
            Route("/v1/models", models.all, methods=["GET"]),
            Route("/v1/models/{id}", models.one, methods=["GET"]),
            Route("/v1/chat/completions", ChatCompletions(roster, turns), methods=["POST"]),
            Route("/api/peers", roster_surface.all, methods=["GET"]),
            Route("/api/peers/{peer}", roster_surface.one, methods=["GET"]),
            Route("/api/remote-agent/invoke", Invoke(roster, turns), methods=["POST"]),
            Route("/healthz", _alive, methods=["GET"]),
            Route("/readyz", _ready, methods=["GET"]),
        ],
        middleware=[Middleware(Edge, consumers=consumers)],
        exception_handlers={HTTPException: _no_route, SwitchboardError: _told},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a path is there or is not
    return app


async def _alive(_: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _ready(_: Request) -> Response:
    return JSONResponse({"status": "ready"})


async def _no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    words = {404: "there is nothing at this path", 405: "this path does not take this method"}
    return error_response(request.scope, RouteNotFound(error.status_code, words.get(error.status_code, error.detail)))


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, SwitchboardError)  # noqa: S101 - registered for this type alone
    return error_response(request.scope, error)
