"""One exchange over a real socket: what is read, what is kept, what is sent again, and what is not."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest
from doubles.upstream import LOOPBACK, Upstream, Visit, saying
from switchboard_relay import (
    AnswerBroken,
    AnswerInvalid,
    AnswerMissing,
    ConnectFailed,
    ConnectTimedOut,
    Pool,
    Request,
    pool,
)
from waiting import until

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
HOST = (b"host", b"upstream")
GET = Request(b"GET", b"/", (HOST,))
POST = Request(b"POST", b"/", (HOST, (b"content-length", b"4")), b"body")


async def ask(connections: Pool, request: Request = GET) -> tuple[int, bytes]:
    async with connections.exchange(request) as answer:
        return answer.status, await answer.read()


@pytest.mark.parametrize(
    ("raw", "status", "body"),
    [
        (OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n", 200, b"abcd"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 1\r\n\r\n", 200, b"a"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
    ],
)
async def test_every_framing_is_read_to_its_end_and_the_connection_kept(raw: bytes, status: int, body: bytes) -> None:
    async with Upstream(saying(raw)) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        assert [await ask(connections), await ask(connections)] == [(status, body)] * 2
        assert len(upstream.visits) == 1
        connections.close()


async def test_an_answer_to_head_has_no_body_whatever_it_says() -> None:
    async with Upstream(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", OK)) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        assert await ask(connections, Request(b"HEAD", b"/", (HOST,))) == (200, b"")
        assert await ask(connections) == (200, b"ok")
        assert len(upstream.visits) == 1
        connections.close()


async def test_a_body_that_ends_with_the_connection_is_whole_when_it_closes_in_order() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        visit.end()

    async with Upstream(script) as upstream:
        assert await ask(Pool(LOOPBACK, upstream.port)) == (200, b"until the end")


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
    ],
)
@pytest.mark.parametrize("is_in_order", [True, False])
async def test_an_answer_that_ends_too_early_is_broken_after_what_came(raw: bytes, is_in_order: bool) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(raw)
        await read.wait()
        visit.end() if is_in_order else visit.abort()

    read = asyncio.Event()
    async with Upstream(script) as upstream, Pool(LOOPBACK, upstream.port).exchange(GET) as answer:
        assert await anext(answer) == b"hello"
        read.set()
        with pytest.raises(AnswerBroken, match="broke off") as broken:
            await anext(answer)
    assert broken.value.was_sent


async def test_a_body_that_ends_with_the_connection_is_broken_when_that_is_reset() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        await read.wait()
        visit.reset()

    read = asyncio.Event()
    async with Upstream(script) as upstream, Pool(LOOPBACK, upstream.port).exchange(GET) as answer:
        assert await anext(answer) == b"hello"
        read.set()
        with pytest.raises(AnswerBroken):
            await anext(answer)


async def test_an_upstream_that_closes_before_it_answers_may_have_acted() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.abort()

    async with Upstream(script) as upstream:
        with pytest.raises(AnswerMissing) as missing:
            await ask(Pool(LOOPBACK, upstream.port), POST)
        assert missing.value.was_sent
        assert len(upstream.requests) == 1


async def test_a_refused_connection_sent_nothing() -> None:
    async with Upstream(saying(OK)) as upstream:
        port = upstream.port
    with pytest.raises(ConnectFailed, match="refused") as refused:
        await ask(Pool(LOOPBACK, port))
    assert not refused.value.was_sent


async def test_a_name_that_no_host_can_have_sent_nothing() -> None:
    with pytest.raises(ConnectFailed, match="no name of a host") as failed:
        await ask(Pool("a" * 64 + ".example", 80))
    assert not failed.value.was_sent


async def test_a_connection_that_nobody_accepts_has_a_budget() -> None:
    assert pool.CONNECT_SECONDS == 5.0
    with socket.socket() as full:
        full.bind((LOOPBACK, 0))
        full.listen(0)
        address = full.getsockname()
        fillers = []
        with pytest.raises(ConnectTimedOut) as late:  # once the backlog is full, Linux drops what comes
            for _ in range(8):
                connections = Pool(*address, connect_seconds=0.2)
                fillers.append(await connections.connect())
        for filler in fillers:
            filler.close()
    assert not late.value.was_sent


async def test_a_vanished_machine_is_noticed_by_the_kernel() -> None:
    async with Upstream(saying(OK)) as upstream:
        connection = await Pool(LOOPBACK, upstream.port).connect()
        sock = connection._transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
        told = [sock.getsockopt(socket.IPPROTO_TCP, option) for option in (4, 5, 6)]  # idle, interval, count
        assert told[0] + told[1] * told[2] <= 30
        connection.close()


async def test_a_block_that_is_left_early_closes_the_upstream_at_once() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")

    async with Upstream(script) as upstream:
        async with Pool(LOOPBACK, upstream.port).exchange(GET) as answer:
            assert await anext(answer) == b"a"
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()


async def test_a_wait_for_the_head_that_is_cancelled_closes_the_upstream_at_once() -> None:
    async def silent(visit: Visit) -> None:
        await visit.request()

    async with Upstream(silent) as upstream:
        asking = asyncio.create_task(ask(Pool(LOOPBACK, upstream.port), POST))
        await until(lambda: bool(upstream.requests), seconds=5)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()


async def test_an_unsafe_request_rides_only_a_connection_that_was_used_a_moment_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert pool.UNSAFE_IDLE_SECONDS == 1.0
    async with Upstream(saying(OK)) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        await ask(connections, POST)
        await ask(connections, POST)
        assert len(upstream.visits) == 1
        monkeypatch.setattr(pool, "UNSAFE_IDLE_SECONDS", 1e-9)
        await ask(connections, POST)
        assert len(upstream.visits) == 2
        await ask(connections, GET)
        assert len(upstream.visits) == 2
        monkeypatch.setattr(pool, "IDLE_SECONDS", 1e-9)
        await ask(connections, GET)
        assert len(upstream.visits) == 3
        connections.close()


@pytest.mark.parametrize("request_", [GET, POST])
async def test_a_connection_that_has_become_readable_is_not_used(request_: Request) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK)
        await taken.wait()
        visit.end()
        told.set()

    taken, told = asyncio.Event(), asyncio.Event()
    async with Upstream(script) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        await ask(connections)
        taken.set()
        await told.wait()
        await ask(connections, request_)
        assert [len(visit.requests) for visit in upstream.visits] == [1, 1]


async def test_an_upstream_that_speaks_unasked_is_left() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(OK)
        await kept.wait()
        await visit.send(OK)

    kept = asyncio.Event()
    async with Upstream(script) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        await ask(connections)
        kept.set()
        async with asyncio.timeout(5):
            await upstream.visits[0].left.wait()
        assert connections.take(is_safe=True) is None


@pytest.mark.parametrize("extra", [b"HTTP/1.1 200 OK\r\n\r\n", b"garbage", b"\r\n\r\nx"])
async def test_what_comes_after_an_answer_ends_the_connection_and_no_answer(extra: bytes) -> None:
    async with Upstream(saying(OK + extra)) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        assert [await ask(connections), await ask(connections, POST)] == [(200, b"ok")] * 2
        assert len(upstream.visits) == 2


async def breaking_on_reuse(visit: Visit) -> None:
    """Answers one request a connection; at the second it breaks, having read it."""
    await visit.request()
    await visit.send(OK)
    await visit.request()
    visit.abort()


async def test_a_safe_request_is_sent_once_more_when_the_kept_connection_was_dead() -> None:
    async with Upstream(breaking_on_reuse) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        await ask(connections)
        assert await ask(connections) == (200, b"ok")
        assert len(upstream.requests) == 3


@pytest.mark.parametrize("request_", [POST, replace(GET, is_repeatable=False)], ids=["post", "once"])
async def test_an_unsafe_request_is_never_sent_again(request_: Request) -> None:
    async with Upstream(breaking_on_reuse) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        await ask(connections)
        with pytest.raises(AnswerMissing):
            await ask(connections, request_)
        assert len(upstream.requests) == 2


async def test_a_safe_request_is_not_sent_a_third_time() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        if len(upstream.visits) == 1:
            await visit.send(OK)
            await visit.request()
        visit.abort()

    async with Upstream(script) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        await ask(connections)
        with pytest.raises(AnswerMissing):
            await ask(connections)
        assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: abcdefgh\r\n" * 6000 + b"content-length: 0\r\n\r\n",
        b"HTTP/1.1 200 " + b"a" * 70_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 000 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
    ],
)
async def test_what_two_readers_could_read_differently_is_refused(raw: bytes) -> None:
    async with Upstream(saying(raw)) as upstream:
        with pytest.raises(AnswerInvalid):
            await ask(Pool(LOOPBACK, upstream.port))
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()


async def test_endless_trailers_are_refused() -> None:
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n" + b"x: abcdefgh\r\n" * 6000
    async with Upstream(saying(raw)) as upstream:
        with pytest.raises(AnswerBroken, match="65536"):
            await ask(Pool(LOOPBACK, upstream.port))


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_a_body_that_is_still_arriving_is_sent_as_it_comes(is_chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first "
        yield b""
        await until(lambda: bool(upstream.visits), seconds=5)
        yield b"second"

    async with Upstream(saying(OK)) as upstream:
        framing = (b"transfer-encoding", b"chunked") if is_chunked else (b"content-length", b"12")
        connections = Pool(LOOPBACK, upstream.port)
        assert await ask(connections, Request(b"POST", b"/", (HOST, framing), pieces())) == (200, b"ok")
        body = b"6\r\nfirst \r\n6\r\nsecond\r\n0\r\n\r\n" if is_chunked else b"first second"
        assert upstream.requests[0].partition(b"\r\n\r\n")[2] == body
        connections.close()


async def test_a_body_that_breaks_breaks_the_exchange() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise ConnectionError("the client left")

    async with Upstream(saying(OK)) as upstream:
        request = Request(b"POST", b"/", (HOST, (b"transfer-encoding", b"chunked")), pieces())
        with pytest.raises(AnswerMissing, match="the client left"):
            await ask(Pool(LOOPBACK, upstream.port), request)
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()


async def test_an_answer_before_the_end_of_its_body_leaves_no_connection_behind() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        await answered.wait()
        given_up.set()  # in the same step as the sending, which sees that nobody wants the rest
        yield b" of it"

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n")

    answered, given_up = asyncio.Event(), asyncio.Event()
    async with Upstream(script) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        request = Request(b"POST", b"/", (HOST, (b"transfer-encoding", b"chunked")), pieces())
        async with connections.exchange(request) as answer:
            assert (answer.status, await answer.read()) == (413, b"")
            answered.set()
            async with asyncio.timeout(5):
                await given_up.wait()
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()
        assert connections.take(is_safe=True) is None


async def test_an_upload_is_held_back_by_its_upstream_and_can_be_given_up_quietly() -> None:
    taken, limit = 0, 32 * 1024 * 1024

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < limit:
            yield b"x" * 65536
            taken += 65536
        await released.wait()

    async def script(visit: Visit) -> None:
        await visit.head()
        await released.wait()

    reports: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    released = asyncio.Event()
    async with Upstream(script) as upstream:
        request = Request(b"POST", b"/", (HOST, (b"transfer-encoding", b"chunked")), pieces())
        asking = asyncio.create_task(ask(Pool(LOOPBACK, upstream.port), request))
        seen = -1
        while seen != taken or not taken:  # until no more is taken in a time that is long for a loopback
            seen = taken
            await asyncio.sleep(0.1)
        assert taken < limit
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        released.set()
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()
    assert not reports


async def test_a_body_that_breaks_never_ends_its_answer_in_order() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await begun.wait()
        raise ConnectionError("the client left")

    async def script(visit: Visit) -> None:
        await visit.head()
        await visit.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    begun = asyncio.Event()
    async with Upstream(script) as upstream:
        request = Request(b"POST", b"/", (HOST, (b"transfer-encoding", b"chunked")), pieces())
        async with Pool(LOOPBACK, upstream.port).exchange(request) as answer:
            assert await anext(answer) == b"until the end"
            begun.set()
            async with asyncio.timeout(0.5):
                await upstream.visits[0].left.wait()  # our own close has gone through
            with pytest.raises(AnswerBroken, match="the client left"):
                await anext(answer)


async def test_an_upstream_is_held_back_by_a_reader_that_is_slow() -> None:
    """What the upstream could send without anyone reading is bounded by buffers, not by the answer."""
    size = 64 * 1024 * 1024
    sent = 0

    async def script(visit: Visit) -> None:
        nonlocal sent
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        while sent < size:
            await visit.send(b"x" * 65536)
            sent += 65536

    async with Upstream(script) as upstream, Pool(LOOPBACK, upstream.port).exchange(GET) as answer:
        await anext(answer)
        seen = -1
        while seen != sent:  # until no more goes out in a round of the loop that gives it time
            seen = sent
            await asyncio.sleep(0.1)
        assert sent < size // 2
        total = 0
        async for piece in answer:
            total += len(piece)
    assert sent == size


async def test_idle_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "IDLE_CONNECTIONS", 2)
    async with Upstream(saying(OK)) as upstream:
        connections = Pool(LOOPBACK, upstream.port)
        exchanges = [connections.exchange(GET) for _ in range(4)]
        for exchange in exchanges:
            await (await exchange.__aenter__()).read()
        for exchange in exchanges:
            await exchange.__aexit__(None, None, None)
        assert len(connections._idle) == 2
        await until(lambda: sum(visit.left.is_set() for visit in upstream.visits) == 2, seconds=5)
        connections.close()
        await until(lambda: all(visit.left.is_set() for visit in upstream.visits), seconds=5)


@pytest.mark.parametrize(
    "request_",
    [
        Request(b"GET", b"/ HTTP/1.1\r\nx: y", (HOST,)),
        Request(b"GET", b"/", ((b"x", b"a\r\nb: c"),)),
        Request(b"GET", b"/", ((b"x", b"a\0b"),)),
        Request(b"GET\n", b"/", ()),
    ],
)
async def test_a_head_that_would_end_early_is_not_sent(request_: Request) -> None:
    async with Upstream(saying(OK)) as upstream:
        with pytest.raises(ValueError, match="CR, LF or NUL"):
            await ask(Pool(LOOPBACK, upstream.port), request_)
        assert not upstream.requests
