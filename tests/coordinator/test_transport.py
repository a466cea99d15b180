"""httpx over the connections of the relay."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from doubles.upstream import LOOPBACK, Upstream, Visit, saying
from switchboard_coordinator.transport import Transport
from switchboard_relay import AnswerMissing, ConnectFailed

OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


async def test_httpx_asks_over_a_connection_that_is_kept() -> None:
    async with Upstream(saying(OK)) as upstream, httpx.AsyncClient(transport=Transport()) as client:
        url = f"http://{LOOPBACK}:{upstream.port}/a?b=c"
        assert (await client.get(url)).json() == {}
        assert (await client.post(url, json={"x": 1})).status_code == 200
        first, second = upstream.requests
        assert first.startswith(b"GET /a?b=c HTTP/1.1\r\n")
        assert second.endswith(b'{"x":1}')
        assert len(upstream.visits) == 1


async def test_a_body_without_a_length_goes_out_in_chunks() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    async with Upstream(saying(OK)) as upstream, httpx.AsyncClient(transport=Transport()) as client:
        await client.post(f"http://{LOOPBACK}:{upstream.port}/", content=pieces())
        assert upstream.requests[0].endswith(b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")


async def test_a_stream_that_is_closed_early_closes_its_upstream() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")

    async with Upstream(script) as upstream, httpx.AsyncClient(transport=Transport()) as client:
        async with client.stream("GET", f"http://{LOOPBACK}:{upstream.port}/") as answer:
            assert await anext(answer.aiter_bytes()) == b"a"
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()


async def test_the_relays_errors_pass_through_httpx() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.abort()

    async with Upstream(script) as upstream, httpx.AsyncClient(transport=Transport(connect_seconds=1)) as client:
        url = f"http://{LOOPBACK}:{upstream.port}/"
        with pytest.raises(AnswerMissing) as missing:
            await client.post(url)
        assert missing.value.was_sent
        with pytest.raises(httpx.UnsupportedProtocol, match="only http"):
            await client.get(url.replace("http:", "https:"))
    async with httpx.AsyncClient(transport=Transport()) as client:
        with pytest.raises(ConnectFailed):
            await client.get(url)
