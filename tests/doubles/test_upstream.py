"""The scripted upstream does what its scripts say, and tells what came."""

import asyncio

import pytest
from doubles.upstream import LOOPBACK, Upstream, Visit, saying

WAIT_SECONDS = 10


async def test_requests_of_either_framing_are_recorded_as_they_came_and_answered_in_turn() -> None:
    sized = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
    chunked = b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n"
    async with Upstream(saying(b"one.", b"two.")) as upstream, asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection(LOOPBACK, upstream.port)
        for request, answer in ((sized, b"one."), (chunked, b"two."), (sized, b"two.")):
            writer.write(request)
            assert await reader.readuntil(b".") == answer
        writer.close()
        await upstream.visits[0].left.wait()
        assert upstream.requests == [sized, chunked, sized]


async def test_a_script_pauses_where_it_waits_and_ends_in_good_order() -> None:
    async def script(visit: Visit) -> None:
        await visit.send(b"first")
        await released.wait()
        await visit.send(b"second")
        visit.end()

    released = asyncio.Event()
    async with Upstream(script) as upstream, asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection(LOOPBACK, upstream.port)
        assert await reader.readexactly(5) == b"first"
        released.set()
        assert await reader.read() == b"second"
        writer.close()


async def test_a_reset_is_an_error_for_the_other_side() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        visit.reset()

    async with Upstream(script) as upstream, asyncio.timeout(WAIT_SECONDS):
        reader, writer = await asyncio.open_connection(LOOPBACK, upstream.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()
        assert not upstream.requests
