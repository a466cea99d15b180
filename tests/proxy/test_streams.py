"""Answers pass as they come, whoever leaves releases the other, and who is slow holds back nobody else."""

import asyncio
import fcntl
import select
import socket
import sys
import termios
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from doubles.proxy_command import ProxyCommand
from doubles.raw_client import RawClient
from doubles.recording_upstream import Asked, RecordingUpstream
from doubles.running_proxy import RunningProxy, running_proxy
from switchboard_proxy.settings import Profile
from waiting import until

KIB, MIB = 1024, 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LEAVING_SECONDS = 0.05
"""What is promised; the tests leave ten times the room."""
ROUNDS = 50
READERS = 32


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Listening:
    """An upstream that says `first` and then listens until its client is gone; tells when that was."""

    def __init__(self, first: bytes) -> None:
        self._first = first
        self.came, self.left = asyncio.Event(), asyncio.Event()
        self.left_at = 0.0

    async def script(self, _: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self._first)
        self.came.set()
        await reader.read()
        self.left_at = asyncio.get_running_loop().time()
        self.left.set()

    async def seconds_from(self, leaving_at: float) -> float:
        async with asyncio.timeout(5):
            await self.left.wait()
        return self.left_at - leaving_at


@pytest.fixture
def took(capsys: pytest.CaptureFixture[str]) -> Iterator[list[float]]:
    """Seconds from a client's going to its upstream's end, to be filled by a test; printed and judged behind it."""
    took: list[float] = []
    yield took
    with capsys.disabled():
        print(f"\nleft -> released: median {median(took) * 1000:.2f} ms, longest {max(took) * 1000:.2f} ms")
    assert len(took) == ROUNDS
    assert median(took) < 10 * LEAVING_SECONDS


async def test_every_piece_arrives_before_the_next_is_said(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    heard = asyncio.Event()

    async def script(_: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        for number in range(20):
            writer.write(chunk(b"data: %d\n\n" % number))
            await heard.wait()
            heard.clear()
        writer.write(b"0\r\n\r\n")

    agent.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("POST", "/v1/chat/completions", "Content-Length: 0"))
        await client.head()
        for number in range(20):
            assert await client.piece() == b"data: %d\n\n" % number
            heard.set()
        assert await client.piece() == b""


@pytest.mark.parametrize(
    "first",
    [CHUNKED + chunk(b"data: x\n\n"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b""],
    ids=["streaming", "in a sized answer", "before the first byte"],
)
@pytest.mark.parametrize("behind", [b"", b"GET /v1/models HTTP/1.1\r\n" * 4000], ids=["", "with a request in advance"])
async def test_a_client_that_leaves_releases_its_upstream(
    first: bytes, behind: bytes, proxy: RunningProxy, agent: RecordingUpstream, took: list[float]
) -> None:
    for _ in range(ROUNDS):
        upstream = Listening(first)
        agent.script = upstream.script
        async with proxy.connect() as client:
            client.send(proxy.head("POST", "/v1/chat/completions", "Content-Length: 2") + b"{}")
            await upstream.came.wait()
            if first:
                await client.head()
            if behind:
                client.send(behind)
                await asyncio.sleep(0.01)
            client.leave()
            took.append(await upstream.seconds_from(asyncio.get_running_loop().time()))


async def test_a_client_that_is_reset_in_a_held_back_upload_releases_its_upstream(
    tmp_path: Path, took: list[float]
) -> None:
    """A client that merely closes has its last words before its farewell, and they wait to be taken."""
    loop, words = asyncio.get_running_loop(), bytes(32 * MIB)
    with socket.create_server(("127.0.0.1", 0)) as standing_still:
        standing_still.setblocking(False)
        port = standing_still.getsockname()[1]
        async with running_proxy(tmp_path, {"default": Profile()}, port) as proxy:
            for _ in range(ROUNDS):
                async with proxy.connect() as client:
                    client.send(proxy.head("PUT", "/upload", f"Content-Length: {100 * MIB}") + words)
                    await until(lambda: proxy.server.held_back == 1, seconds=10)
                    upstream, _ = await loop.sock_accept(standing_still)
                    client.reset()
                    left_at = loop.time()
                    await ended(upstream)
                    took.append(loop.time() - left_at)
                    upstream.close()
                assert proxy.log.lines[-1]["outcome"] == "client_left"


async def test_an_upstream_is_released_from_what_the_kernel_alone_still_holds_for_it(tmp_path: Path) -> None:
    """Nobody is held back here: all that the client sent fits between the proxy and an upstream that takes none."""
    loop, words = asyncio.get_running_loop(), bytes(256 * KIB)
    with socket.socket() as standing_still:
        standing_still.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
        standing_still.bind(("127.0.0.1", 0))
        standing_still.listen()
        standing_still.setblocking(False)
        port = standing_still.getsockname()[1]
        async with running_proxy(tmp_path, {"default": Profile()}, port) as proxy, proxy.connect() as client:
            client.send(proxy.head("PUT", "/upload", f"Content-Length: {MIB}") + words)
            upstream, _ = await loop.sock_accept(standing_still)
            with upstream:
                await comes_true(lambda: unread_bytes(upstream) > KIB)
                assert proxy.server.held_back == 0
                client.reset()
                await ended(upstream)


def unread_bytes(connection: socket.socket) -> int:
    return int.from_bytes(fcntl.ioctl(connection, termios.FIONREAD, bytes(4)), sys.byteorder)


async def ended(connection: socket.socket) -> None:
    """Wait until the other side has gone, however much is unread."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    await comes_true(lambda: bool(poll.poll(0)))


async def comes_true(condition: Callable[[], bool]) -> None:
    """Like `until`, with looks so close that they may be timed."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the kernel and the server tell no event
            await asyncio.sleep(0.0005)


async def test_a_client_that_leaves_while_its_profile_is_asked_about_is_let_go(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path, took: list[float]
) -> None:
    """What is asked about a profile is asked for all who wait, so it is the request that ends, not the question."""
    loop = asyncio.get_running_loop()
    agent.script = Listening(b"").script
    profiles = {
        "default": Profile(port=dashboard.port),
        "work": Profile(port=agent.port, prefix="/p/work", key_file="api_server_key"),
    }
    async with running_proxy(tmp_path, profiles, dashboard.port) as proxy:
        for _ in range(ROUNDS):
            async with proxy.connect() as client:
                client.send(proxy.head("POST", "/p/work/v1/x", "Content-Length: 2") + b"{}")
                await until(lambda: proxy.server.calls == 1, seconds=5)
            left_at = loop.time()
            await comes_true(lambda: not proxy.server.calls)
            took.append(loop.time() - left_at)
        assert [line["outcome"] for line in proxy.log.lines] == ["client_left"] * ROUNDS
        assert {asked.line for asked in agent.requests} == {"GET /p/work/v1/models HTTP/1.1"}


async def test_slow_readers_hold_back_their_own_upstreams_in_bounded_memory(
    command: ProxyCommand, agent: RecordingUpstream, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: dict[int, int] = {}

    async def endless(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED)
        is_brisk = asked.target.endswith("/brisk")
        for number in range(1_000_000):
            writer.write(chunk(b"tick" if is_brisk else bytes(64 * 1024)))
            await writer.drain()
            sent[id(writer)] = number
            if is_brisk:
                await asyncio.sleep(0.02)

    agent.script = endless
    loop, arrivals = asyncio.get_running_loop(), []
    before = command.resident_bytes()
    slow = [RawClient(command.port) for _ in range(READERS)]
    async with command.connect() as brisk:
        for client in slow:
            await client.__aenter__()
            client.send(command.head("POST", "/v1/slow", "Content-Length: 0"))
        seen = -1
        while seen != sum(sent.values()):  # they read nothing: all of them come to a stop
            seen = sum(sent.values())
            await asyncio.sleep(0.3)
        each = (command.resident_bytes() - before) / READERS
        brisk.send(command.head("POST", "/v1/brisk", "Content-Length: 0"))
        await brisk.head()
        for _ in range(50):
            await brisk.piece()
            arrivals.append(loop.time())
        for client in slow:
            client.leave()
    worst = max(later - earlier for earlier, later in pairwise(arrivals))
    with capsys.disabled():
        print(f"\n{each / 1024:.0f} KiB for a reader that stands still; worst gap of another {worst * 1000:.1f} ms")
    assert each < 10 * 256 * 1024
    assert worst < 0.02 + 10 * 0.05


async def test_bodies_without_a_length_for_agents_have_64_mb_together(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    head = proxy.head("POST", "/v1/chat/completions", "Transfer-Encoding: chunked")
    clients = [proxy.connect() for _ in range(7)]
    for client in clients:
        await client.__aenter__()
    for client in clients[:6]:
        client.send(head + chunk(bytes(9_900_000)))
    await until(lambda: proxy.app.held_bodies.left < 64_000_000 - 6 * 9_800_000, seconds=20)
    clients[6].send(head + chunk(bytes(9_900_000)))
    reply = await clients[6].reply()
    assert (reply.status, reply.json()["error"]["code"]) == (503, "too_many_bodies")
    assert (reply["retry-after"], reply["x-switchboard-started"]) == ("1", "no")
    clients[0].send(b"0\r\n\r\n")
    assert (await clients[0].reply()).status == 200
    for client in clients:
        client.leave()
    await until(lambda: proxy.app.held_bodies.left == 64_000_000, seconds=10)
    assert [len(asked.body) for asked in agent.requests] == [9_900_000]


async def test_a_long_upload_to_the_dashboard_streams_in_bounded_memory(
    command: ProxyCommand, dashboard: RecordingUpstream
) -> None:
    size = 100_000_000
    before = command.resident_bytes()
    for framing in (f"Content-Length: {size}", "Transfer-Encoding: chunked"):
        async with command.connect() as client:
            client.send(command.head("PUT", "/api/upload", framing))
            for _ in range(100):
                client.send(bytes(size // 100) if "Length" in framing else chunk(bytes(size // 100)))
                await client.drained()
            if "Length" not in framing:
                client.send(b"0\r\n\r\n")
            assert (await client.reply()).status == 200
        assert len(dashboard.requests[-1].body) == size
    assert command.resident_bytes() - before < 20 * MIB


@pytest.mark.parametrize("framing", ["Content-Length: 1001", "Transfer-Encoding: chunked"])
async def test_an_upload_that_is_too_long_is_refused(
    framing: str, agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> None:
    profiles = {"default": Profile(port=agent.port)}
    async with (
        running_proxy(tmp_path, profiles, dashboard.port, dashboard_max_body_bytes=1000) as proxy,
        proxy.connect() as client,
    ):
        client.send(proxy.head("PUT", "/api/upload", framing) + chunk(bytes(600)))
        client.send(chunk(bytes(600)))
        reply = await client.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (413, "body_too_large")
    assert dashboard.requests == []


async def test_a_client_that_waits_for_it_is_told_to_go_on_where_its_body_is_wanted(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for path, upstream in (("/v1/x", agent), ("/api/upload", dashboard)):
        for framing, body in (
            ("Content-Length: 4", b"ping"),
            ("Transfer-Encoding: chunked", b"4\r\nping\r\n0\r\n\r\n"),
        ):
            async with proxy.connect() as client:
                client.send(proxy.head("POST", path, framing, "Expect: 100-continue"))
                assert (await client.head()).status == 100
                client.send(body)
                assert (await client.reply()).status == 200
            assert (upstream.requests[-1].body, upstream.requests[-1].all("expect")) == (b"ping", [])
    async with proxy.connect() as client:
        client.send(proxy.head("POST", "/v1/x", "Content-Length: 99999999", "Expect: 100-continue"))
        assert (await client.reply()).status == 413
    for size, status in ((110_000_000, 100), (110_000_001, 413)):
        async with proxy.connect() as client:
            client.send(proxy.head("PUT", "/api/upload", f"Content-Length: {size}", "Expect: 100-continue"))
            assert (await client.head()).status == status
