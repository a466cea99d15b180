"""httpx's client API over the connections of the relay. Its errors are the relay's, which httpx lets pass."""

from collections.abc import AsyncIterator
from typing import cast

import httpx
from switchboard_relay import Answer, Exchange, Pool, Request
from switchboard_relay.pool import CONNECT_SECONDS


class Transport(httpx.AsyncBaseTransport):
    """A pool for each origin. Plain http only: between machines the tailnet encrypts.

    The timeouts that a client sets are not looked at: connecting has a budget, an answer has none.
    """

    def __init__(self, *, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._connect_seconds = connect_seconds
        self._pools: dict[tuple[str, int], Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; the body of the response is streamed and must be closed.

        Raises:
            RelayError: `was_sent` tells whether it may have left.
            httpx.UnsupportedProtocol: not http.
        """
        if request.url.scheme != "http":
            raise httpx.UnsupportedProtocol(f"{request.url.scheme} is not carried here, only http", request=request)
        exchange = self.pool(request.url.host, request.url.port or 80).exchange(
            Request(
                method=request.method.encode("ascii"),
                target=request.url.raw_path,
                headers=request.headers.raw,
                body=_body(request),
            )
        )
        answer = await exchange.__aenter__()
        return httpx.Response(answer.status, headers=list(answer.headers), stream=_Stream(exchange, answer))

    async def aclose(self) -> None:
        """Close what is idle."""
        for pool in self._pools.values():
            pool.close()

    def pool(self, host: str, port: int) -> Pool:
        """The connections to one origin, for exchanges that need no httpx."""
        origin = host, port
        pool = self._pools.get(origin)
        if pool is None:
            pool = self._pools[origin] = Pool(host, port, connect_seconds=self._connect_seconds)
        return pool


def _body(request: httpx.Request) -> bytes | AsyncIterator[bytes]:
    if isinstance(request.stream, httpx.ByteStream):
        return b"".join(request.stream)
    return aiter(cast("httpx.AsyncByteStream", request.stream))


class _Stream(httpx.AsyncByteStream):
    """The body of a response: `aclose` ends the exchange."""

    def __init__(self, exchange: Exchange, answer: Answer) -> None:
        self._exchange = exchange
        self._answer = answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._answer

    async def aclose(self) -> None:
        await self._exchange.__aexit__(None, None, None)
