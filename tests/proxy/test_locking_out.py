"""Guessing is slow, and hurts nobody who knows."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from itertools import pairwise

import pytest
from doubles import flood as flooder
from doubles.proxy_command import ProxyCommand
from doubles.raw_client import RawClient, basic
from doubles.recording_upstream import Asked, RecordingUpstream
from doubles.running_proxy import RunningProxy

WRONG = basic("coordinator", "not-the-password-of-this-peer")
GUESSERS, FLOOD_SECONDS, FRAME_SECONDS = 20, 3.0, 0.02


async def test_after_ten_wrong_ones_each_has_to_wait_twice_as_long(proxy: RunningProxy) -> None:
    for _ in range(10):
        assert (await proxy.ask("GET", "/v1/models", credential=WRONG)).status == 401
    waits = []
    for _ in range(4):
        reply = await proxy.ask("GET", "/v1/models", credential=WRONG)
        assert (reply.status, reply.json()["error"]["code"]) == (429, "locked_out")
        assert (reply["www-authenticate"], reply["x-switchboard-started"]) == (None, "no")
        waits.append(int(reply["retry-after"] or 0))
    assert waits == [1, 2, 4, 8]


async def test_a_right_one_always_passes_and_clears_the_count(proxy: RunningProxy) -> None:
    for _ in range(12):
        await proxy.ask("GET", "/v1/models", credential=WRONG)
    assert (await proxy.ask("GET", "/v1/models")).status == 200
    assert (await proxy.ask("GET", "/v1/models", credential=WRONG)).status == 401


async def test_a_missing_one_does_not_count(proxy: RunningProxy) -> None:
    for _ in range(30):
        assert (await proxy.ask("GET", "/v1/models", credential=None)).status == 401
    assert (await proxy.ask("GET", "/v1/models", credential=WRONG)).status == 401


@pytest.mark.parametrize(("credential", "outcome"), [(WRONG, "invalid_credentials"), (None, "invalid_credentials")])
async def test_strangers_get_a_line_a_minute(credential: str | None, outcome: str, proxy: RunningProxy) -> None:
    for _ in range(30):
        await proxy.ask("GET", "/v1/models", credential=credential)
    assert [line["outcome"] for line in proxy.log.lines] == [outcome]


async def test_malformed_requests_fill_no_log_either(proxy: RunningProxy) -> None:
    for _ in range(30):
        async with proxy.connect() as client:
            client.send(b"nonsense\r\n\r\n")
            await client.reply()
    assert [line["outcome"] for line in proxy.log.lines] == ["malformed_request"]


async def test_a_flood_slows_no_stream_and_fills_neither_memory_nor_log(
    command: ProxyCommand, agent: RecordingUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    async def frames(_: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"4\r\ntick\r\n")
            await asyncio.sleep(FRAME_SECONDS)

    agent.script = frames
    loop, arrivals = asyncio.get_running_loop(), []
    async with RawClient(command.port, source="127.0.0.2") as stream:
        stream.send(command.head("POST", "/v1/x", "Content-Length: 0"))
        await stream.head()

        async def read() -> None:
            while True:
                await stream.piece()
                arrivals.append(loop.time())

        reading = asyncio.create_task(read())
        await asyncio.sleep(1)
        calm = worst_gap(arrivals)
        arrivals.clear()
        before = command.resident_bytes()
        sent = await flood(command.port)
        flooded = worst_gap(arrivals)
        grown = command.resident_bytes() - before
        reading.cancel()
    with capsys.disabled():
        print(f"\n{sent} guesses: worst gap {calm * 1000:.1f} -> {flooded * 1000:.1f} ms, {grown / 1024:.0f} KiB more")
    assert sent > 1000
    assert flooded < FRAME_SECONDS + 10 * 0.05
    assert grown < 4 * 1024 * 1024
    assert len([line for line in command.lines("request") if line["client"] == "127.0.0.1"]) <= 3


def worst_gap(arrivals: list[float]) -> float:
    return max(later - earlier for earlier, later in pairwise(arrivals))


async def flood(port: int) -> int:
    """Guess on many connections at once, from another process; how often."""
    arguments = [str(port), str(FLOOD_SECONDS), str(GUESSERS)]
    guessing = await asyncio.create_subprocess_exec(sys.executable, flooder.__file__, *arguments, stdout=PIPE)
    out, _ = await guessing.communicate()
    assert guessing.returncode == 0
    return int(out)
