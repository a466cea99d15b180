"""One call carried upstream and its answer back; whoever leaves first releases the other."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from doubles.answering import Answering, answering
from doubles.raw_client import RawClient
from doubles.upstream import Script, Upstream, Visit, saying
from switchboard_relay import Budget, Call, Headers, Hop, Pool, RelayError, Way
from waiting import until

WAIT_SECONDS = 10.0
QUIET_SECONDS = 0.5
BODY_LIMIT = 1_000_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OPEN = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nHost: nas\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: nas\r\nContent-Length: 4\r\n\r\n"
HUGE = b"POST /a HTTP/1.1\r\nHost: nas\r\nContent-Length: 500000000\r\n\r\n"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: chunked\r\n\r\n"
HOP_BY_HOP = (b"connection", b"transfer-encoding")


def as_it_is(call: Call, status: int, headers: Headers) -> tuple[int, Headers]:
    return status, [header for header in headers if header[0].lower() not in HOP_BY_HOP]


def failed(call: Call, error: RelayError) -> None:
    call.answer(502, [], type(error).__name__.encode())


def head_of(call: Call, key: bytes) -> bytes:
    framing = b""
    if call.length is not None:
        framing = b"content-length: %d\r\n" % call.length
    elif call.is_chunked:
        framing = b"transfer-encoding: chunked\r\n"
    return b"%b %b HTTP/1.1\r\nhost: up\r\nkey: %b\r\n%b\r\n" % (call.method, call.target, key, framing)


def renewed(call: Call, status: int) -> bytes | None:
    return head_of(call, b"new") if status == 401 else None


@asynccontextmanager
async def door(
    script: Script,
    *,
    limit: int = BODY_LIMIT,
    again: Callable[[Call, int], bytes | None] | None = None,
    held: Budget | None = None,
    once: Callable[[Call], bool] | None = None,
) -> AsyncIterator[tuple[Answering, RawClient, Upstream]]:
    """A client, and an upstream of this script, with hops between them."""
    async with Upstream(script) as upstream:
        pool = Pool("127.0.0.1", upstream.port)
        way = Way(pool, as_it_is, failed, limit, again, held, once)

        def carry(call: Call) -> None:
            Hop(call, way, head_of(call, b"old"), is_chunked=call.is_chunked).start()

        async with answering(carry) as handler, RawClient(handler.port) as client:
            yield handler, client, upstream
        pool.close()


async def stopped(count: Callable[[], int]) -> None:
    """Wait until this number has risen, and rises no more."""
    before, since = 0, 0.0

    def has_stopped() -> bool:
        nonlocal before, since
        now = asyncio.get_running_loop().time()
        if count() != before or not before:
            before, since = count(), now
        return now - since > QUIET_SECONDS

    await until(has_stopped, seconds=WAIT_SECONDS)


async def test_an_answer_passes_as_it_comes() -> None:
    go = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OPEN + b"3\r\none\r\n")
        await go.wait()
        await visit.send(b"3\r\ntwo\r\n0\r\n\r\n")

    async with door(script) as (_, client, _):
        client.send(GET)
        assert (await client.head()).status == 200
        assert await client.piece() == b"one"
        go.set()
        assert [await client.piece(), await client.piece()] == [b"two", b""]


async def test_a_body_passes_as_it_comes() -> None:
    seen = b""

    async def script(visit: Visit) -> None:
        nonlocal seen
        await visit.head()
        while not seen.endswith(b"0\r\n\r\n"):
            seen += await visit.some()
        await visit.send(OK)

    async with door(script) as (_, client, _):
        client.send(CHUNKED + b"3\r\none\r\n")
        await until(lambda: seen == b"3\r\none\r\n", seconds=WAIT_SECONDS)
        client.send(b"3\r\ntwo\r\n0\r\n\r\n")
        assert (await client.reply()).body == b"ok"
        assert seen == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


async def test_a_client_that_leaves_closes_its_upstream_at_once() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OPEN + b"3\r\none\r\n")

    async with door(script) as (handler, client, upstream):
        client.send(GET)
        await client.head()
        began = time.monotonic()
        client.leave()
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()
        print(f"closed after {(time.monotonic() - began) * 1000:.1f} ms")  # noqa: T201 - the figure is the promise's
        assert [call.outcome for call in handler.ended] == ["client_left"]


async def test_an_upstream_that_breaks_off_breaks_the_answer() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OPEN + b"3\r\none\r\n")
        visit.end()

    async with door(script) as (handler, client, _):
        client.send(GET)
        await client.head()
        assert await client.rest() == b"3\r\none\r\n"
        assert [call.outcome for call in handler.ended] == ["broken"]


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        visit.end()

    async with door(script) as (_, client, _):
        client.send(GET)
        assert (await client.reply()).body == b"all of it"


@pytest.mark.parametrize(("seconds", "visits"), [(0.0, 1), (1.5, 2)])
async def test_a_post_rides_only_a_connection_that_was_used_a_moment_ago(
    seconds: float, visits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with door(saying(OK)) as (_, client, upstream):
        client.send(GET)
        await client.reply()
        monkeypatch.setattr("switchboard_relay.pool.monotonic", lambda: time.monotonic() + seconds)
        client.send(POST + b"body")
        assert (await client.reply()).status == 200
        assert len(upstream.visits) == visits


async def test_the_head_of_a_stream_that_says_nothing_yet_is_not_held_back() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OPEN)

    async with door(script) as (_, client, _):
        client.send(GET)
        assert (await client.head()).status == 200


@pytest.mark.parametrize(
    ("request_bytes", "is_once", "status", "times"),
    [(GET, False, 200, 3), (GET, True, 502, 2), (POST + b"body", False, 502, 2)],
    ids=["safe", "once", "post"],
)
async def test_on_a_connection_that_had_died_a_safe_request_is_repeated_once_and_a_post_never(
    request_bytes: bytes, is_once: bool, status: int, times: int
) -> None:
    asked = 0

    async def script(visit: Visit) -> None:
        nonlocal asked
        while True:
            await visit.request()
            asked += 1
            if asked == 2:
                visit.reset()
                return
            await visit.send(OK)

    async with door(script, once=lambda _: is_once) as (_, client, _):
        client.send(GET)
        await client.reply()
        client.send(request_bytes)
        assert (await client.reply()).status == status
        assert asked == times


async def test_an_upstream_that_takes_nothing_holds_the_upload_back() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await asyncio.Event().wait()

    async with door(script) as (handler, client, _):
        client.send(HUGE)

        sent = 0

        async def flood() -> None:
            nonlocal sent
            while sent < 100_000_000:
                client.send(b"x" * 100_000)
                await client.drained()
                sent += 100_000

        flooding = asyncio.create_task(flood())
        await stopped(lambda: sent)
        assert sent < 50_000_000
        assert handler.server.held_back == 1
        flooding.cancel()


async def test_a_client_that_takes_nothing_holds_its_answer_back() -> None:
    sent = 0

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            await visit.send(b"x" * 100_000)
            sent += 100_000

    async with door(script) as (_, client, _):
        client.send(GET)
        await stopped(lambda: sent)
        assert sent < 50_000_000
        await client.head()
        assert len(await client.exactly(100_000_000)) == 100_000_000


@pytest.mark.parametrize("room", [100, 3])
async def test_after_a_401_it_is_sent_again_once_with_its_body_where_that_could_be_kept(room: int) -> None:
    held = Budget(room)
    async with door(saying(UNAUTHORIZED), again=renewed, held=held) as (handler, client, upstream):
        client.send(POST + b"bo")
        await until(lambda: bool(handler.called_for), seconds=WAIT_SECONDS)
        client.send(b"dy")
        assert (await client.reply()).status == 401
        keys = [b"key: old", b"key: new"] if room == 100 else [b"key: old"]
        assert [request.split(b"\r\n")[2] for request in upstream.requests] == keys
        assert {request.rpartition(b"\r\n")[2] for request in upstream.requests} == {b"body"}
        assert held.left == room


async def test_behind_half_a_body_no_connection_is_used_again() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(OK)

    async with door(script) as (handler, client, upstream):
        client.send(HUGE + b"half")
        assert ((reply := await client.reply()).body, reply["connection"]) == (b"ok", "close")
        await until(upstream.visits[0].left.is_set, seconds=WAIT_SECONDS)
        async with RawClient(handler.port) as other:
            other.send(GET)
            assert (await other.reply()).body == b"ok"
        assert len(upstream.visits) == 2


async def test_a_body_that_grows_too_long_on_its_way_is_refused_and_its_upstream_closed() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()

    async with door(script, limit=10) as (_, client, upstream):
        client.send(CHUNKED + b"a\r\n0123456789\r\n")
        await until(lambda: bool(upstream.visits), seconds=WAIT_SECONDS)
        client.send(b"1\r\nx\r\n")
        assert ((reply := await client.reply()).status, reply.body) == (413, b"body_too_large")
        await until(upstream.visits[0].left.is_set, seconds=WAIT_SECONDS)
