"""Whole answers of the API server: JSON with its security headers, errors in OpenAI's envelope; heads of streams."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from .messages import Refused

KEEPALIVE = b": keepalive\n\n"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",
    "Referrer-Policy": "no-referrer",
}


def answer(value: object, headers: dict[str, str] | None = None, *, status: int = 200) -> web.Response:
    """An answer in JSON."""
    return web.json_response(value, status=status, headers={**(headers or {}), **SECURITY_HEADERS})


def error(
    status: int,
    message: str,
    *,
    kind: str = "invalid_request_error",
    code: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """An error with all four members."""
    told = {"message": message, "type": kind, "param": None, "code": code}
    return answer({"error": told}, headers, status=status)


def refusal(refused: Refused) -> web.Response:
    """A request that is not understood."""
    return answer({"error": refused.error}, status=400)


async def body_of(request: web.Request) -> dict[str, Any] | None:
    """The JSON of a request; None where it is none, or too long.

    Raises:
        TypeError: it is no object (the real one stumbles too: 500).
    """
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError, web.HTTPRequestEntityTooLarge):
        return None
    if not isinstance(body, dict):
        raise TypeError("the body is no object")
    return body


def streaming(headers: dict[str, str] | None = None) -> web.StreamResponse:
    """The head of a stream of server-sent events, not sent yet."""
    response = web.StreamResponse(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no", **(headers or {})})
    response.content_type = "text/event-stream"
    response.enable_chunked_encoding()
    return response


async def be_silent(seconds: float, keepalive_seconds: float, write: Callable[[bytes], Awaitable[None]]) -> None:
    """Nothing but a comment now and then."""
    while seconds > keepalive_seconds:
        await asyncio.sleep(keepalive_seconds)
        seconds -= keepalive_seconds
        await write(KEEPALIVE)
    await asyncio.sleep(seconds)


def cut(request: web.Request) -> None:
    """End the connection here and now, in the middle of whatever was being sent."""
    if request.transport is not None:
        request.transport.abort()
