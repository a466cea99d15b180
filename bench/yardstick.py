"""The yardstick: one hop as most people would write it, Starlette in front and a stock httpx client behind.

It does the work of the others and nothing more. It is no part of the product: it stands for what Switchboard is
measured against. Configured by YARDSTICK_UPSTREAM (a URL), YARDSTICK_BASIC and YARDSTICK_BEARER (whole header values).
"""

import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

HOP_BY_HOP = {"connection", "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Hold one client for the life of the app."""
    async with httpx.AsyncClient(base_url=os.environ["YARDSTICK_UPSTREAM"], timeout=None) as client:  # noqa: S113 - a turn may be silent for minutes
        app.state.client = client
        yield


async def forward(request: Request) -> Response:
    """Check the Basic credential, put the Bearer in, pass the answer on as it comes."""
    client: httpx.AsyncClient = request.app.state.client
    if not secrets.compare_digest(request.headers.get("authorization", ""), os.environ["YARDSTICK_BASIC"]):
        return PlainTextResponse("wrong credential\n", 401, {"WWW-Authenticate": "Basic"})
    headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP}
    headers["authorization"] = os.environ["YARDSTICK_BEARER"]
    outgoing = client.build_request(request.method, request.url.path, headers=headers, content=await request.body())
    answer = await client.send(outgoing, stream=True)
    kept = {name: value for name, value in answer.headers.items() if name not in HOP_BY_HOP}
    return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose))


app = Starlette(routes=[Route("/{path:path}", forward, methods=["GET", "POST"])], lifespan=lifespan)
