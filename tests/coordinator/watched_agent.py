"""An agent behind a proxy that notes to the millisecond when the connection that carries a turn is closed."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from coordinator.stage import refusal
from waiting import until

MODELS = b'{"object":"list","data":[{"id":"hermes-agent","object":"model"}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
ROLE = b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
TEXT = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"tick "},"finish_reason":null}]}\n\n'
TOOL = b'event: hermes.tool.progress\ndata: {"tool":"terminal","toolCallId":"call_1","status":"running"}\n\n'
LAST = b'data: {"id":"1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"


@dataclass
class WatchedTurn:
    """One turn here; times are of `time.monotonic`."""

    is_shown: bool = False
    """Whether what it says at first was sent."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Future[float] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WatchedAgent:
    """What it does is the first word of a message: `mute` sends no head, `silent` no text, `tool` is in a silent tool
    call, `talk` talks without end, `race` says its text and ends when it may go on.
    """

    def __init__(self) -> None:
        self.port = 0
        self.turns: dict[str, WatchedTurn] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Self]:
        """There in this block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def begun(self, text: str) -> WatchedTurn:
        """The turn with this message, as soon as it is here and has said what it says at first."""
        await until(lambda: text in self.turns and self.turns[text].is_shown, seconds=10)
        return self.turns[text]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._exchange(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST "):
            body = await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            await self._answer(json.loads(body)["messages"][-1]["content"], reader, writer)
        else:
            writer.write(refusal(200, MODELS, b"Content-Type: application/json", b"Connection: close"))
            await writer.drain()

    async def _answer(self, text: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        turn = self.turns[text] = WatchedTurn()
        talking = asyncio.create_task(self._talk(text.split()[0], turn, writer))
        try:
            with suppress(ConnectionError):
                await reader.read()
            turn.closed.set_result(time.monotonic())
        finally:
            talking.cancel()
            await asyncio.gather(talking, return_exceptions=True)

    async def _talk(self, word: str, turn: WatchedTurn, writer: asyncio.StreamWriter) -> None:
        def say(*frames: bytes) -> None:
            writer.write(b"".join(b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames))

        if word == "mute":
            turn.is_shown = True
            return
        writer.write(HEAD)
        say(ROLE)
        if word == "tool":
            say(TOOL)
        if word == "talk":
            say(TEXT)
        await writer.drain()
        turn.is_shown = True
        while word == "talk":
            await asyncio.sleep(0.005)
            say(TEXT)
            await writer.drain()
        if word == "race":
            await turn.go_on.wait()
            say(TEXT, LAST, DONE)
            writer.write(b"0\r\n\r\n")
            writer.close()
