"""A body is gathered whole, within bounds, and what was held for it is given back."""

import pytest
from doubles.answering import answering
from doubles.raw_client import RawClient
from switchboard_relay import Budget, Call, WholeBody
from waiting import until

WAIT_SECONDS = 10.0
LIMIT = 1000
HEAD = b"POST / HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


class Gathering:
    """Answers each call with its body."""

    def __init__(self, held: Budget) -> None:
        self.held = held

    def __call__(self, call: Call) -> None:
        WholeBody(call, LIMIT, self.held, self.whole).start()

    def whole(self, call: Call) -> None:
        call.answer(200, [], call.take())


async def test_a_body_in_pieces_is_whole_when_it_is_handed_on() -> None:
    held = Budget(LIMIT)
    async with answering(Gathering(held)) as handler, RawClient(handler.port) as client:
        client.send(HEAD + chunk(b"a" * 400))
        await until(lambda: held.left == LIMIT - 400, seconds=WAIT_SECONDS)
        client.send(chunk(b"b" * 600) + LAST)
        assert (await client.reply()).body == b"a" * 400 + b"b" * 600
        assert held.left == LIMIT
        client.send(HEAD + chunk(b"at once") + LAST)
        assert (await client.reply()).body == b"at once"


async def test_a_body_of_one_byte_too_many_is_refused() -> None:
    held = Budget(10 * LIMIT)
    async with answering(Gathering(held)) as handler, RawClient(handler.port) as client:
        client.send(HEAD + chunk(b"a" * LIMIT))
        await until(lambda: held.left == 9 * LIMIT, seconds=WAIT_SECONDS)
        client.send(chunk(b"b"))
        assert ((reply := await client.reply()).status, reply.body) == (413, b"body_too_large")
        assert held.left == 10 * LIMIT


@pytest.mark.parametrize("leaves", [True, False])
async def test_what_all_bodies_may_hold_is_bounded_and_given_back(leaves: bool) -> None:
    held = Budget(700)
    async with (
        answering(Gathering(held)) as handler,
        RawClient(handler.port) as first,
        RawClient(handler.port) as other,
    ):
        first.send(HEAD + chunk(b"a" * 400))
        await until(lambda: held.left == 300, seconds=WAIT_SECONDS)
        other.send(HEAD + chunk(b"b" * 301))
        assert ((reply := await other.reply()).status, reply.body) == (503, b"too_many_bodies")
        if leaves:
            first.leave()
        else:
            first.send(LAST)
            assert (await first.reply()).status == 200
        await until(lambda: held.left == 700, seconds=WAIT_SECONDS)
