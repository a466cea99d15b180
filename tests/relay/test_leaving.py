"""An ASGI client: its body, and a block that ends when it leaves."""

import asyncio
from typing import Any

import pytest
from switchboard_relay import BodyTooLarge, Client, ClientLeft, Request
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


async def test_a_block_that_ends_before_its_client_leaves_is_not_cancelled() -> None:
    asgi = Asgi()
    client = Client(asgi.receive)
    await client.read(100)
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
    await client.read(100)
    task = asyncio.create_task(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not client.has_left


async def test_an_error_in_the_block_is_not_taken_for_a_leaving_client() -> None:
    client = Client(Asgi().receive)
    await client.read(100)
    with pytest.raises(KeyError):
        async with leaving(client):
            raise KeyError


async def test_a_block_that_ends_in_the_moment_its_client_leaves_ends_well() -> None:
    asgi = Asgi()
    client = Client(asgi.receive)
    await client.read(100)

    async def block() -> str:
        async with leaving(client):
            asgi.gone.set()
            while not client.has_left:  # noqa: ASYNC110 - step by step, so that the block ends in that very round
                await asyncio.sleep(0)
        await asyncio.sleep(0)
        return "went on"

    assert await asyncio.create_task(block()) == "went on"
