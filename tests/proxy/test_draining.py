"""How the real command ends: nothing is accepted any more, what runs may end, and then it is cut."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.proxy_command import ProxyCommand, proxy_command
from doubles.raw_client import RawClient
from doubles.recording_upstream import RecordingUpstream
from waiting import until


class Turn:
    """What the agent says, when the test lets it."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()

    async def script(self, _: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        left, going = asyncio.create_task(reader.read()), asyncio.create_task(self.goes_on.wait())
        await asyncio.wait((left, going), return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        going.cancel()
        writer.write(b"4\r\nlast\r\n0\r\n\r\n")


@pytest.fixture
def turn(agent: RecordingUpstream) -> Turn:
    turn = Turn()
    agent.script = turn.script
    return turn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


@pytest.fixture
async def command(agent: RecordingUpstream, dashboard: RecordingUpstream, folder: Path) -> AsyncIterator[ProxyCommand]:
    async with proxy_command(
        folder, agent_port=agent.port, dashboard_port=dashboard.port, DRAIN_SECONDS="10"
    ) as running:
        yield running


async def test_a_running_stream_ends_whole_while_newcomers_are_told(
    command: ProxyCommand, agent: RecordingUpstream, turn: Turn
) -> None:
    async with command.connect() as running, command.connect() as waiting, command.connect() as half:
        waiting.send(command.head("GET", "/-/ready"))
        assert (await waiting.reply()).status == 200
        head = command.head("POST", "/v1/chat/completions", "Content-Length: 2")
        half.send(head[:20])
        running.send(head + b"{}")
        assert (await running.head()).status == 200
        assert await running.piece() == b"first"
        command.signal(signal.SIGTERM)
        await until(lambda: _is_refused(command.port), seconds=5)
        assert await waiting.rest() == b""  # idle: nothing is lost with it
        half.send(head[20:] + b"{}")
        told = await half.reply()
        assert (told.status, told.json()["error"]["code"]) == (503, "draining")
        assert (told["x-switchboard-started"], told["connection"], told["retry-after"]) == ("no", "close", "1")
        turn.goes_on.set()
        assert (await running.piece(), await running.piece()) == (b"last", b"")
        assert await running.rest() == b""
    assert await command.ended() == 0
    assert len(agent.requests) == 1


async def _is_refused(port: int) -> bool:
    try:
        async with RawClient(port):
            return False
    except ConnectionError:  # refused, or reset by a listener that closes in this moment
        return True


async def test_at_the_end_of_its_time_a_stream_is_broken_not_ended(
    agent: RecordingUpstream, dashboard: RecordingUpstream, turn: Turn, folder: Path
) -> None:
    async with (
        proxy_command(folder, agent_port=agent.port, dashboard_port=dashboard.port, DRAIN_SECONDS="0.3") as command,
        command.connect() as running,
    ):
        running.send(command.head("POST", "/v1/chat/completions", "Content-Length: 2") + b"{}")
        await running.head()
        assert await running.piece() == b"first"
        command.signal(signal.SIGTERM)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await running.piece()
        assert await command.ended() == 0
        await until(lambda: agent.open_now == 0, seconds=5)
        assert [line["outcome"] for line in command.lines("request") if line["path"] != "/-/ready"] == ["cut_by_drain"]


async def test_with_nothing_running_it_ends_at_once(command: ProxyCommand) -> None:
    async with command.connect():
        command.signal(signal.SIGTERM)
        assert await command.ended(5) == 0  # of the 10 s that a running answer would have
