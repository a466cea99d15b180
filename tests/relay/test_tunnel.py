"""After an agreed upgrade bytes pass both ways, held back by whoever is slow, until either side ends."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha1

import pytest
from doubles.answering import Answering, answering
from doubles.raw_client import RawClient
from doubles.upstream import Script, Upstream, Visit
from switchboard_relay import Call, Headers, Hop, Pool, RelayError, Way
from waiting import until

WAIT_SECONDS = 10.0
QUIET_SECONDS = 0.5
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b64encode(sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324 - RFC 6455 says SHA-1
HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: nas\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY
)
AGREED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %b\r\n\r\n"
)


def as_it_is(call: Call, status: int, headers: Headers) -> tuple[int, Headers]:
    return status, [header for header in headers if header[0].lower() not in (b"connection", b"upgrade")]


def failed(call: Call, error: RelayError) -> None:
    call.answer(502, [], type(error).__name__.encode())


@asynccontextmanager
async def door(script: Script) -> AsyncIterator[tuple[Answering, RawClient, Upstream]]:
    """A client, and an upstream of this script, with a hop between them."""
    async with Upstream(script) as upstream:
        pool = Pool("127.0.0.1", upstream.port)
        way = Way(pool, as_it_is, failed, 1000)
        async with (
            answering(lambda call: Hop(call, way, HANDSHAKE).start()) as handler,
            RawClient(handler.port) as client,
        ):
            yield handler, client, upstream
        pool.close()


async def agree(visit: Visit) -> None:
    await visit.request()
    await visit.send(AGREED % ACCEPT)


async def echo(visit: Visit) -> None:
    await visit.request()
    await visit.send(AGREED % ACCEPT + b"early")
    while data := await visit.some():
        await visit.send(data)


async def test_bytes_pass_both_ways_early_ones_too_and_are_counted() -> None:
    async with door(echo) as (handler, client, _):
        client.send(HANDSHAKE + b"mine")
        head = await client.head()
        assert (head.status, head["upgrade"], head["sec-websocket-accept"]) == (101, "websocket", ACCEPT.decode())
        assert sorted(await client.exactly(9)) == sorted(b"earlymine")
        client.send(b"\0\r\n\xff" * 1000)
        assert await client.exactly(4000) == b"\0\r\n\xff" * 1000
        client.leave()
        await until(lambda: bool(handler.ended), seconds=WAIT_SECONDS)
        [call] = handler.ended
        assert (call.outcome, call.received_bytes, call.body_bytes) == ("done", 4004, 4009)


@pytest.mark.parametrize("accept", [b"", b"bm90IHRoZSByaWdodCBvbmUgYXQgYWxs", ACCEPT + b"x"])
async def test_an_upgrade_that_is_not_this_handshakes_is_no_upgrade(accept: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(AGREED % accept)

    async with door(script) as (_, client, upstream):
        client.send(HANDSHAKE)
        assert ((reply := await client.reply()).status, reply.body) == (502, b"AnswerInvalid")
        await until(upstream.visits[0].left.is_set, seconds=WAIT_SECONDS)


async def test_a_refused_upgrade_is_passed_on() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")

    async with door(script) as (_, client, _):
        client.send(HANDSHAKE)
        assert ((reply := await client.reply()).status, reply.body) == (403, b"no")


async def test_a_client_that_ends_ends_the_upstream() -> None:
    async with door(agree) as (handler, client, upstream):
        client.send(HANDSHAKE)
        await client.head()
        client.leave()
        await until(upstream.visits[0].left.is_set, seconds=WAIT_SECONDS)
        assert len(handler.ended) == 1


async def test_an_upstream_that_ends_ends_the_client_behind_what_it_said() -> None:
    size = 5_000_000

    async def script(visit: Visit) -> None:
        await agree(visit)
        await visit.send(b"x" * size)
        visit.end()

    async with door(script) as (handler, client, _):
        client.send(HANDSHAKE)
        await client.head()
        assert len(await client.rest()) == size
        await until(lambda: len(handler.ended) == 1, seconds=WAIT_SECONDS)


@pytest.mark.parametrize("is_client_slow", [True, False])
async def test_a_slow_side_holds_the_other_back(is_client_slow: bool) -> None:
    enough = 100_000_000
    sent = 0

    async def script(visit: Visit) -> None:
        nonlocal sent
        await agree(visit)
        while is_client_slow and sent < enough:
            await visit.send(b"x" * 100_000)
            sent += 100_000
        await asyncio.Event().wait()

    async with door(script) as (handler, client, _):
        client.send(HANDSHAKE)
        await client.head()

        async def flood() -> None:
            nonlocal sent
            while sent < enough:
                client.send(b"x" * 100_000)
                await client.drained()
                sent += 100_000

        flooding = None if is_client_slow else asyncio.create_task(flood())
        before, since = 0, 0.0

        def has_stopped() -> bool:
            nonlocal before, since
            now = asyncio.get_running_loop().time()
            if sent != before or not sent:
                before, since = sent, now
            return now - since > QUIET_SECONDS

        await until(has_stopped, seconds=WAIT_SECONDS)
        assert sent < enough / 2
        if flooding is not None:
            flooding.cancel()
        [call] = handler.called_for
        assert max(call.received_bytes, call.body_bytes) < enough / 2
