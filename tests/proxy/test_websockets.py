"""WebSockets pass on any path of any upstream, as their two ends speak them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.recording_upstream import RecordingUpstream, answer
from doubles.running_proxy import BASIC, RunningProxy, running_proxy
from switchboard_proxy.settings import Profile
from switchboard_relay import Limits
from waiting import until
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

MIB = 1024 * 1024
MANY = 150
OFFER = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="


class Echo:
    """An upstream that sends back every frame and remembers who came."""

    def __init__(self) -> None:
        self.server: Server
        self.seen: list[ServerConnection] = []

    async def talk(self, connection: ServerConnection) -> None:
        self.seen.append(connection)
        async for frame in connection:
            if frame == "close":
                await connection.close(4007, "as you wish")
                return
            await connection.send(frame)

    @property
    def port(self) -> int:
        number: int = next(iter(self.server.sockets)).getsockname()[1]
        return number


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    upstream = Echo()
    async with serve(
        upstream.talk, "127.0.0.1", 0, max_size=17 * MIB, subprotocols=[Subprotocol("hermes.v2")], ping_interval=None
    ) as upstream.server:
        yield upstream


@pytest.fixture
async def door(echo: Echo, tmp_path: Path) -> AsyncIterator[RunningProxy]:
    """A proxy with the echo behind every path, whose patience for anything idle is short."""
    profiles = {"default": Profile(port=echo.port)}
    patience = Limits(head_seconds=0.3, body_seconds=0.3, idle_seconds=0.3)
    async with running_proxy(tmp_path, profiles, echo.port, patience, webui=True, webui_port=echo.port) as running:
        yield running


def socket(proxy: RunningProxy, path: str, origin: str | None = None, credential: str | None = BASIC) -> connect:
    headers = [("Authorization", credential)] if credential else []
    return connect(
        f"ws://{proxy.host}{path}",
        additional_headers=[*headers, *([("Origin", origin)] if origin else [])],
        subprotocols=[Subprotocol("hermes.v1"), Subprotocol("hermes.v2")],
        max_size=17 * MIB,
        proxy=None,
        ping_interval=None,
    )


async def closed(connection: ClientConnection | ServerConnection) -> tuple[int, str]:
    async with asyncio.timeout(5):
        await connection.wait_closed()
    return connection.close_code or 0, connection.close_reason or ""


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/api/ws?token=a%20b&x=", "/api/ws?token=a%20b&x="),
        ("/v1/browser-control/x", "/v1/browser-control/x"),
        ("/agent/anything", "/anything"),
        ("/webui/api/x?y=1", "/api/x?y=1"),
    ],
)
async def test_text_binary_pings_and_a_subprotocol_pass_on_any_path(
    path: str, asked: str, door: RunningProxy, echo: Echo
) -> None:
    async with asyncio.timeout(30), socket(door, path, origin=f"http://{door.host}") as client:
        for frame in ("text ä", b"\x00\xff binary", "", b""):
            await client.send(frame)
            assert await client.recv() == frame
        assert await (await client.ping(b"from here")) >= 0
        assert await (await echo.seen[0].ping(b"from there")) >= 0
        assert client.subprotocol == "hermes.v2"
    request = echo.seen[0].request
    assert request is not None
    assert (request.path, request.headers.get("Origin")) == (asked, None)
    assert request.headers["Host"] == f"127.0.0.1:{echo.port}"
    assert request.headers.get("Authorization") in (None, "Bearer api-server-key-of-the-tests")


@pytest.mark.parametrize("size", [125, 65_535, 65_536, 16 * MIB])
async def test_frames_pass_whole_up_to_16_mib_compressed_as_both_agreed(
    size: int, door: RunningProxy, echo: Echo
) -> None:
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        frame = bytes(range(256)) * (size // 256 + 1)
        await client.send(frame[:size])
        assert await client.recv() == frame[:size]
        assert "permessage-deflate" in str(client.response and client.response.headers["Sec-WebSocket-Extensions"])


async def test_close_codes_and_reasons_pass_both_ways(door: RunningProxy, echo: Echo) -> None:
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        await client.close(4001, "enough ü")
        assert await closed(echo.seen[0]) == (4001, "enough ü")
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        await client.send("close")
        assert await closed(client) == (4007, "as you wish")


async def test_a_side_that_goes_without_a_word_ends_the_other_at_once(door: RunningProxy, echo: Echo) -> None:
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        await until(lambda: len(echo.seen) == 1, seconds=5)
        client.transport.abort()
        assert (await closed(echo.seen[0]))[0] == 1006
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        await until(lambda: len(echo.seen) == 2, seconds=5)
        echo.seen[1].transport.abort()
        assert (await closed(client))[0] == 1006
    await until(lambda: not door.server.calls, seconds=5)


async def test_silence_ends_no_socket(door: RunningProxy) -> None:
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        await asyncio.sleep(1.2)  # four times the limit of everything else that is idle
        await client.send("still there")
        assert await client.recv() == "still there"


async def test_each_of_many_sockets_hears_its_own_words(door: RunningProxy, echo: Echo) -> None:
    async def talk(number: int) -> None:
        async with socket(door, "/api/ws") as client:
            await until(lambda: len(echo.seen) == MANY, seconds=20)
            for turn in range(10):
                await client.send(f"{number} {turn}")
            assert [await client.recv() for _ in range(10)] == [f"{number} {turn}" for turn in range(10)]

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(MANY):
            group.create_task(talk(number))
    await until(lambda: not door.server.calls, seconds=5)


async def test_no_socket_opens_without_credential_name_and_origin(door: RunningProxy, echo: Echo) -> None:
    for origin, credential, status in (
        (None, None, 401),
        (f"http://{door.host}", None, 401),
        ("http://evil.example", BASIC, 403),
        ("null", BASIC, 403),
    ):
        with pytest.raises(InvalidStatus) as refused:
            await socket(door, "/api/ws", origin, credential)
        assert refused.value.response.status_code == status
    assert not echo.seen


async def test_an_upstreams_403_is_the_clients(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for path, upstream in (("/api/ws?token=wrong", dashboard), ("/v1/x", agent)):
        upstream.always(answer(403, "X-Why: token", body=b"no"))
        with pytest.raises(InvalidStatus) as refused:
            await socket(proxy, path)
        response = refused.value.response
        assert (response.status_code, response.body, response.headers["X-Why"]) == (403, b"no", "token")


@pytest.mark.parametrize(
    "agreed",
    [
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nUpgrade: h2c",
        "Sec-WebSocket-Accept: AAAALMBiTxaQ9kYGzzhZRbK+xOo=\r\nUpgrade: websocket",
        "Upgrade: websocket",
    ],
)
async def test_an_agreement_to_something_else_opens_no_tunnel(
    agreed: str, proxy: RunningProxy, dashboard: RecordingUpstream
) -> None:
    dashboard.always(f"HTTP/1.1 101 X\r\nConnection: Upgrade\r\n{agreed}\r\n\r\nsecret".encode())
    async with proxy.connect() as client:
        client.send(proxy.head("GET", "/api/ws", *OFFER, KEY))
        reply = await client.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (502, "agent_outcome_unknown")
        assert b"secret" not in await client.rest()


async def test_what_either_side_says_early_arrives(proxy: RunningProxy, dashboard: RecordingUpstream) -> None:
    agreed = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    received: list[bytes] = []

    async def script(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 101 X\r\n{agreed}\r\n\r\nfirst words".encode())
        received.append(await reader.readexactly(5))
        writer.close()

    dashboard.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("GET", "/api/ws", *OFFER, KEY) + b"early")
        assert (await client.head()).status == 101
        assert await client.rest() == b"first words"
    assert received == [b"early"]


async def test_a_slow_end_holds_the_other_back(proxy: RunningProxy, dashboard: RecordingUpstream) -> None:
    agreed = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    sent = 0

    async def script(_: object, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 101 X\r\n{agreed}\r\n\r\n".encode())
        while True:
            writer.write(bytes(MIB))
            await writer.drain()
            sent += MIB

    dashboard.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("GET", "/api/ws", *OFFER, KEY))
        seen = -1
        while seen != sent:  # nobody reads: it comes to a stop
            seen = sent
            await asyncio.sleep(0.3)
        assert sent < 64 * MIB


async def test_the_end_of_the_drain_cuts_sockets(door: RunningProxy) -> None:
    async with asyncio.timeout(30), socket(door, "/api/ws") as client:
        await door.server.drain(0.1)
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1006
