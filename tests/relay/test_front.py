"""One connection of a client: turns, refusals, limits, leaving, draining."""

import asyncio

import pytest
from doubles.answering import answering
from doubles.raw_client import RawClient
from switchboard_relay import Call, Limits, RequestRefused
from waiting import until

WAIT_SECONDS = 10.0
HALF = b"POST /half HTTP/1.1\r\nHost: nas\r\nContent-Length: 1000000\r\n\r\n"


def get(target: str, *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: nas", *lines, "", ""]).encode()


def echo(call: Call) -> None:
    call.answer(200, [], call.target)


class Listening:
    """Is told, and keeps the body."""

    def __init__(self, call: Call, *, answers: bool = True) -> None:
        self.call, self.answers = call, answers
        self.body = b""
        self.rooms = self.lefts = 0
        call.listener = self
        call.read_on()
        self.body_arrived()

    def body_arrived(self) -> None:
        self.body += self.call.take()
        if self.answers and self.call.has_whole_body:
            self.call.listener = None
            self.call.answer(200, [], self.body)

    def left(self) -> None:
        self.lefts += 1

    def room(self) -> None:
        self.rooms += 1


def take_in(call: Call) -> None:
    Listening(call)


def wait(call: Call) -> None:
    assert not call.is_over


async def test_pipelined_requests_are_answered_in_turn() -> None:
    go = asyncio.Event()

    def answer(call: Call) -> None:
        async def later() -> None:
            await go.wait()
            echo(call)

        if call.target == b"/slow":
            call.wait_for(later())
        else:
            echo(call)

    async with answering(answer) as handler, RawClient(handler.port) as client:
        client.send(get("/slow") + get("/b") + get("/slow") + get("/c"))
        await until(lambda: bool(handler.called_for), seconds=WAIT_SECONDS)
        assert len(handler.called_for) == 1
        go.set()
        assert [(await client.reply()).body for _ in range(4)] == [b"/slow", b"/b", b"/slow", b"/c"]


async def test_behind_a_refusal_nothing_is_read_and_the_connection_ends() -> None:
    async with answering(echo) as handler, RawClient(handler.port) as client:
        client.send(get("/a") + b"GET  /b HTTP/1.1\r\n\r\n" + get("/c"))
        assert (await client.reply()).body == b"/a"
        refusal = await client.reply()
        assert (refusal.status, refusal["connection"], refusal.body) == (400, "close", b"malformed_request")
        assert await client.rest() == b""
        assert [call.target for call in handler.called_for] == [b"/a"]


async def test_a_client_that_is_still_sending_gets_its_refusal() -> None:
    def refuse(call: Call) -> None:
        raise RequestRefused(413, "body_too_large", "too long")

    async with answering(refuse) as handler, RawClient(handler.port) as client:
        client.send(HALF)
        await until(lambda: bool(handler.ended), seconds=WAIT_SECONDS)
        client.send(b"x" * 900_000)
        await client.drained()
        refusal = await client.reply()
        assert (refusal.status, refusal["connection"], refusal.body) == (413, "close", b"body_too_large")


async def drip(client: RawClient, piece: bytes, times: int) -> None:
    for _ in range(times):
        client.send(piece)
        await asyncio.sleep(0.1)


async def test_the_time_for_a_head_counts_from_its_first_byte_although_it_drips() -> None:
    async with answering(echo, Limits(head_seconds=0.3)) as handler, RawClient(handler.port) as client:
        client.send(b"GET / HTTP/1.1\r\nA: ")
        dripping = asyncio.create_task(drip(client, b"a", 200))
        refusal = await client.reply()
        dripping.cancel()
        assert (refusal.status, refusal["connection"], refusal.body) == (408, "close", b"request_timeout")


async def test_a_body_that_comes_too_slowly_is_refused_and_one_that_keeps_the_rate_is_not() -> None:
    limits = Limits(body_seconds=1.0, body_bytes_per_second=1000)
    async with (
        answering(take_in, limits) as handler,
        RawClient(handler.port) as slow,
        RawClient(handler.port) as steady,
    ):
        slow.send(HALF + b"x")
        steady.send(b"POST /a HTTP/1.1\r\nHost: nas\r\nContent-Length: 25000\r\n\r\n")
        await drip(steady, b"x" * 1000, 25)
        assert (await steady.reply()).body == b"x" * 25000
        assert (await slow.reply()).status == 408


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with answering(echo, Limits(idle_seconds=0.2)) as handler, RawClient(handler.port) as client:
        client.send(get("/a"))
        assert (await client.reply()).body == b"/a"
        assert await client.rest() == b""


async def test_when_one_too_many_comes_the_longest_idle_one_goes() -> None:
    async with answering(echo, Limits(connections=2)) as handler, RawClient(handler.port) as first:
        first.send(get("/1"))
        await first.reply()
        async with RawClient(handler.port) as second:
            second.send(get("/2"))
            await second.reply()
            async with RawClient(handler.port) as third:
                assert await first.rest() == b""
                for client in (second, third):
                    client.send(get("/again"))
                    assert (await client.reply()).body == b"/again"


async def test_a_drain_lets_calls_end_and_tells_those_who_come_meanwhile() -> None:
    async with (
        answering(wait) as handler,
        RawClient(handler.port) as idle,
        RawClient(handler.port) as running,
        RawClient(handler.port) as begun,
    ):
        running.send(get("/a"))
        begun.send(b"GET /late HTT")
        await until(lambda: bool(handler.called_for), seconds=WAIT_SECONDS)
        draining = asyncio.create_task(handler.server.drain(WAIT_SECONDS))
        assert await idle.rest() == b""
        with pytest.raises(OSError):  # noqa: PT011 - whatever says that nobody listens
            await RawClient(handler.port).__aenter__()
        begun.send(b"P/1.1\r\nHost: nas\r\n\r\n")
        told = await begun.reply()
        assert (told.status, told["connection"], told.body) == (503, "close", b"draining")
        echo(handler.called_for[0])
        assert (await running.reply()).body == b"/a"
        await draining


async def test_at_the_end_of_the_drain_time_a_running_answer_is_cut_as_broken() -> None:
    def begin(call: Call) -> None:
        call.begin(200, [])
        call.pass_on(b"some", is_last=False)

    async with answering(begin) as handler, RawClient(handler.port) as client:
        client.send(get("/a"))
        await client.head()
        assert await client.piece() == b"some"
        await handler.server.drain(0.1)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.piece()
        assert [call.outcome for call in handler.ended] == ["cut_by_drain"]


async def test_a_client_that_waits_for_100_continue_gets_it_only_when_its_body_is_wanted() -> None:
    def answer(call: Call) -> None:
        if call.target == b"/wanted":
            Listening(call)
        else:
            echo(call)

    offer = b"POST %b HTTP/1.1\r\nHost: nas\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    async with answering(answer) as handler, RawClient(handler.port) as client:
        client.send(offer % b"/wanted")
        assert (await client.head()).status == 100
        client.send(b"ok")
        assert (await client.reply()).body == b"ok"
        client.send(offer % b"/unwanted")
        assert (await client.reply()).status == 200
        assert await client.rest() == b""


async def test_answers_without_a_body_have_none() -> None:
    def answer(call: Call) -> None:
        call.begin(int(call.target[1:]), [])
        call.pass_on(b"", is_last=True)

    async with answering(answer) as handler, RawClient(handler.port) as client:
        client.send(get("/204") + get("/304") + get("/200", method="HEAD") + get("/200"))
        for method in ("GET", "GET", "HEAD"):
            assert (await client.reply(method))["transfer-encoding"] is None
        assert (await client.reply()).body == b""


async def test_a_fault_is_answered_once_or_breaks_the_answer_off() -> None:
    def fail(call: Call) -> None:
        if call.target == b"/late":
            call.begin(200, [])
            call.pass_on(b"some", is_last=False)
        raise ValueError("a test's")

    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    async with answering(fail) as handler, RawClient(handler.port) as early, RawClient(handler.port) as late:
        early.send(get("/early") + get("/early"))
        late.send(get("/late"))
        assert ((await early.reply()).status, await early.rest()) == (500, b"")
        await late.head()
        assert await late.piece() == b"some"
        assert await late.rest() == b""
        assert (len(faults), len(handler.ended)) == (2, 2)


@pytest.mark.parametrize("behind", [b"", get("/next"), get("/next") * 5000], ids=["alone", "one", "more than is read"])
async def test_that_a_client_left_is_told_at_once_whatever_it_sent_before(behind: bytes) -> None:
    told: list[Listening] = []
    async with (
        answering(lambda call: told.append(Listening(call, answers=False))) as handler,
        RawClient(handler.port) as client,
    ):
        client.send(get("/a") + behind)
        await until(lambda: bool(told), seconds=WAIT_SECONDS)
        client.reset()
        await until(lambda: told[0].lefts == 1, seconds=0.5)
        assert [call.outcome for call in handler.ended] == ["client_left"]
        assert len(handler.called_for) == 1


async def test_that_a_client_left_is_told_while_nobody_reads_from_it() -> None:
    told: list[Listening] = []

    def hold(call: Call) -> None:
        told.append(Listening(call, answers=False))
        call.hold_back()

    async with answering(hold) as handler, RawClient(handler.port) as client:
        client.send(HALF)
        await until(lambda: handler.server.held_back == 1, seconds=WAIT_SECONDS)
        client.leave()
        await until(lambda: told[0].lefts == 1, seconds=0.5)
        assert handler.server.held_back == 0


async def test_a_slow_client_makes_its_call_full_and_room_is_told() -> None:
    told: list[Listening] = []
    size = 20_000_000

    def flood(call: Call) -> None:
        told.append(Listening(call, answers=False))
        call.begin(200, [(b"content-length", b"%d" % size)])
        call.pass_on(b"x" * (size - 1), is_last=False)

    async with answering(flood) as handler, RawClient(handler.port) as client:
        client.send(get("/a"))
        await until(lambda: bool(told), seconds=WAIT_SECONDS)
        assert (told[0].call.is_full, told[0].rooms) == (True, 0)
        await client.head()
        await client.exactly(size - 1)
        await until(lambda: told[0].rooms > 0, seconds=WAIT_SECONDS)
        assert not told[0].call.is_full
