"""One answer on its way to one client: whoever leaves first releases the other."""

import asyncio
import sys
from typing import Any

import pytest
from doubles.upstream import LOOPBACK, Upstream, Visit, saying
from switchboard_relay import AnswerBroken, BodyTooLarge, Carried, Client, ClientLeft, Pool, Request, carry
from switchboard_relay import leaving_with_client as leaving

GET = Request(b"GET", b"/", ((b"host", b"upstream"),))
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: b\r\n\r\nok"


TWO_PIECES: list[dict[str, Any]] = [
    {"type": "http.request", "body": b"ab", "more_body": True},
    {"type": "http.request", "body": b"c"},
]


class Asgi:
    """The server's side of one request: messages to receive, and what was sent."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self._messages = list(messages) or [{"type": "http.request"}]

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)


async def carried(asgi: Asgi, port: int, request: Request = GET) -> Carried:
    told = Carried()
    client = Client(asgi.receive)
    await client.body()
    await carry(
        Pool(LOOPBACK, port), request, client, asgi.send, answer_headers=lambda answer: answer.headers, carried=told
    )
    return told


async def test_an_answer_is_carried_whole_and_counted() -> None:
    asgi = Asgi()
    async with Upstream(saying(OK)) as upstream:
        told = await carried(asgi, upstream.port)
    assert (told.status, told.body_bytes) == (200, 2)
    assert asgi.sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2"), (b"x-a", b"b")]},
        {"type": "http.response.body", "body": b"ok", "more_body": False},
    ]


async def test_an_answer_without_a_body_ends_too() -> None:
    asgi = Asgi()
    async with Upstream(saying(b"HTTP/1.1 204 No Content\r\n\r\n")) as upstream:
        await carried(asgi, upstream.port)
    assert asgi.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_each_piece_is_passed_on_before_the_next_one_comes() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (b"1\r\na\r\n", b"1\r\nb\r\n", b"0\r\n\r\n"):
            async with asyncio.timeout(5):
                await seen.wait()
            seen.clear()
            await visit.send(piece)

    class Watching(Asgi):
        async def send(self, message: Any) -> None:
            await super().send(message)
            seen.set()

    seen = asyncio.Event()
    asgi = Watching()
    async with Upstream(script) as upstream:
        await carried(asgi, upstream.port)
    assert [message.get("body") for message in asgi.sent] == [None, b"a", b"b", b""]


async def test_an_upstream_that_breaks_off_is_never_ended_in_order() -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n")
        visit.end()

    asgi = Asgi()
    async with Upstream(script) as upstream:
        with pytest.raises(AnswerBroken):
            await carried(asgi, upstream.port)
    assert asgi.body == b"a"
    assert all(message.get("more_body", True) for message in asgi.sent)


@pytest.mark.parametrize("answered", [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n"])
async def test_a_client_that_leaves_closes_its_upstream_at_once(answered: bytes) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(answered)
        asked.set()

    asked = asyncio.Event()
    asgi = Asgi()
    async with Upstream(script) as upstream:
        carrying = asyncio.create_task(carried(asgi, upstream.port))
        await asked.wait()
        asgi.gone.set()
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()
            await carrying  # and it ends without an error
    assert all(message.get("more_body", True) for message in asgi.sent)


async def test_a_client_that_leaves_in_the_middle_of_its_body_closes_its_upstream_at_once() -> None:
    async def script(visit: Visit) -> None:
        await visit.head()
        asked.set()

    asked = asyncio.Event()
    asgi = Asgi({"type": "http.request", "body": b"a", "more_body": True})
    client = Client(asgi.receive)
    request = Request(b"POST", b"/", (*GET.headers, (b"transfer-encoding", b"chunked")), await client.body())
    told = Carried()
    async with Upstream(script) as upstream:
        carrying = asyncio.create_task(
            carry(Pool(LOOPBACK, upstream.port), request, client, asgi.send, answer_headers=lambda _: (), carried=told)
        )
        await asked.wait()
        asgi.gone.set()
        async with asyncio.timeout(0.5):
            await upstream.visits[0].left.wait()
            await carrying  # and it ends without an error
    assert client.has_left
    assert (told.status, asgi.sent) == (0, [])


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_told_apart() -> None:
    asgi = Asgi({"type": "http.request", "body": b"a", "more_body": True})
    client = Client(asgi.receive)
    asgi.gone.set()
    with pytest.raises(ClientLeft):
        await client.read(100)
    assert client.has_left


async def test_a_body_is_read_up_to_its_limit() -> None:
    assert await Client(Asgi(*TWO_PIECES).receive).read(3) == b"abc"
    with pytest.raises(BodyTooLarge, match="2 bytes"):
        await Client(Asgi(*TWO_PIECES).receive).read(2)


async def test_a_body_that_has_arrived_leaves_no_generator_for_the_collector_to_end() -> None:
    begun: list[object] = []
    before = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(firstiter=begun.append)
    try:
        assert await Client(Asgi({"type": "http.request", "body": b"abc"}).receive).body() == b"abc"
    finally:
        sys.set_asyncgen_hooks(*before)
    assert not begun


async def test_a_body_that_still_arrives_is_passed_on_in_pieces() -> None:
    body = await Client(Asgi(*TWO_PIECES).receive).body()
    assert not isinstance(body, bytes)
    assert [piece async for piece in body] == [b"ab", b"c"]


async def test_a_block_that_ends_before_its_client_leaves_is_not_cancelled() -> None:
    asgi = Asgi()
    client = Client(asgi.receive)
    await client.body()
    async with leaving(client):
        done = True
    asgi.gone.set()
    await asyncio.sleep(0)
    assert done
    assert not client.has_left


async def test_a_cancellation_from_outside_is_passed_on() -> None:
    async def block() -> None:
        async with leaving(client):
            entered.set()
            await asyncio.Event().wait()

    entered = asyncio.Event()
    client = Client(Asgi().receive)
    await client.body()
    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not client.has_left


async def test_an_error_in_the_block_is_not_taken_for_a_leaving_client() -> None:
    client = Client(Asgi().receive)
    await client.body()
    with pytest.raises(KeyError):
        async with leaving(client):
            raise KeyError


async def test_a_block_that_ends_in_the_moment_its_client_leaves_ends_well() -> None:
    asgi = Asgi()
    client = Client(asgi.receive)
    await client.body()

    async def block() -> str:
        async with leaving(client):
            asgi.gone.set()
            while not client.has_left:  # noqa: ASYNC110 - step by step, so that the block ends in that very round
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "went on"

    assert await asyncio.create_task(block()) == "went on"
