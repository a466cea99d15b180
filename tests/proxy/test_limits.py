"""What a client may take its time for, and how many may wait."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from doubles.recording_upstream import RecordingUpstream
from doubles.running_proxy import RunningProxy, running_proxy
from switchboard_proxy.settings import Profile
from switchboard_relay import Limits
from waiting import until

PATIENCE = Limits(head_seconds=0.4, body_seconds=0.4, body_bytes_per_second=1000, idle_seconds=0.8, connections=3000)


@pytest.fixture
async def hasty(agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path) -> AsyncIterator[RunningProxy]:
    async with running_proxy(tmp_path, {"default": Profile(port=agent.port)}, dashboard.port, PATIENCE) as running:
        yield running


async def test_a_head_that_drips_is_refused_when_its_time_is_over(
    hasty: RunningProxy, agent: RecordingUpstream
) -> None:
    async with hasty.connect() as client:
        dripping = asyncio.create_task(_drip(client, hasty.head("GET", "/v1/models")))
        reply = await client.reply()
        dripping.cancel()
        assert (reply.status, reply.json()["error"]["code"]) == (408, "request_timeout")
        assert (reply["connection"], reply["x-switchboard-started"]) == ("close", "no")
    assert agent.connections == 0


async def _drip(client: object, data: bytes) -> None:
    for byte in data:
        client.send(bytes([byte]))  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/upload"])
async def test_a_body_that_drips_is_refused_and_its_upstream_released(
    path: str, hasty: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    async with hasty.connect() as client:
        client.send(hasty.head("POST", path, "Content-Length: 100000"))
        dripping = asyncio.create_task(_drip(client, bytes(200)))
        reply = await client.reply()
        dripping.cancel()
        assert (reply.status, reply.json()["error"]["code"]) == (408, "request_timeout")
    await until(lambda: agent.open_now + dashboard.open_now == 0, seconds=5)
    assert agent.requests + dashboard.requests == []


async def test_a_body_that_keeps_the_pace_may_take_longer(hasty: RunningProxy, dashboard: RecordingUpstream) -> None:
    async with hasty.connect() as client:
        client.send(hasty.head("PUT", "/api/upload", "Content-Length: 6000"))
        for _ in range(12):
            client.send(bytes(500))
            await asyncio.sleep(0.1)
        assert (await client.reply()).status == 200
    assert len(dashboard.requests[0].body) == 6000


async def test_an_idle_connection_ends_without_a_word(hasty: RunningProxy) -> None:
    async with hasty.connect() as silent, hasty.connect() as client:
        client.send(hasty.head("GET", "/-/ready"))
        assert (await client.reply()).status == 200
        assert (await silent.rest(), await client.rest()) == (b"", b"")


async def test_a_silent_turn_is_no_idle_connection(hasty: RunningProxy, agent: RecordingUpstream) -> None:
    async def script(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2)  # longer than anything that is idle may take
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    agent.script = script
    assert (await hasty.ask("POST", "/v1/chat/completions", body=b"{}")).body == b"ok"


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("many_descriptors")
async def test_two_thousand_idle_connections_keep_no_caller_out(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> None:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(tmp_path, profiles, dashboard.port, Limits(connections=2050)) as proxy:
        with ExitStack() as stack:
            for _ in range(2000):
                stack.enter_context(_idle(proxy.port))
            assert (await proxy.ask("POST", "/v1/chat/completions", body=b"{}")).status == 200
            for _ in range(100):  # beyond the limit, the longest idle ones make room
                stack.enter_context(_idle(proxy.port))
            assert (await proxy.ask("POST", "/v1/chat/completions", body=b"{}")).status == 200


def _idle(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


async def test_the_longest_idle_connection_goes_and_none_that_is_asking(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> None:
    released = asyncio.Event()

    async def script(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    agent.script = script
    profiles = {"default": Profile(port=agent.port)}
    async with (
        running_proxy(tmp_path, profiles, dashboard.port, Limits(connections=3)) as proxy,
        proxy.connect() as asking,
        proxy.connect() as first,
        proxy.connect() as second,
    ):
        asking.send(proxy.head("POST", "/v1/x", "Content-Length: 0"))
        await until(lambda: len(agent.requests) == 1, seconds=5)
        async with proxy.connect() as newcomer:
            assert await first.rest() == b""
            for client in (second, newcomer):
                client.send(proxy.head("GET", "/-/ready"))
                assert (await client.reply()).status == 200
            released.set()
            assert (await asking.reply()).body == b"ok"
