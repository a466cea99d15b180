"""What the proxy tells of itself: metrics, behind Basic."""

import asyncio

from doubles.raw_client import WEBSOCKET, basic
from doubles.recording_upstream import Asked, RecordingUpstream
from doubles.running_proxy import RunningProxy
from prometheus_client.parser import text_string_to_metric_families
from waiting import until

AGREED = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


async def metrics(proxy: RunningProxy) -> dict[tuple[str, ...], float]:
    """Every sample by name and label values."""
    reply = await proxy.ask("GET", "/-/metrics")
    assert reply["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name.removeprefix("switchboard_proxy_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(reply.body.decode())
        for sample in family.samples
    }


async def test_they_count_what_passed_and_what_was_refused(proxy: RunningProxy) -> None:
    await proxy.ask("POST", "/v1/x", body=b"ping")
    await proxy.ask("GET", "/")
    await proxy.ask("GET", "/", credential=basic("coordinator", "not-the-password-of-this-peer"))
    await proxy.ask("GET", "/-/none")
    told = await metrics(proxy)
    assert told["requests_total", "agent", "2xx"] == 1
    assert told["requests_total", "dashboard", "2xx"] == 1
    assert told["requests_total", "itself", "4xx"] == 2
    assert (told["received_bytes_total", "agent"], told["sent_bytes_total", "agent"]) == (4, 2)
    assert told["refusals_total", "invalid_credentials"] == told["wrong_credentials_total",] == 1
    assert told["refusals_total", "not_found"] == 1
    assert told["request_duration_seconds_count", "agent"] == 1
    assert told["process_resident_memory_bytes",] > 0


async def test_they_count_who_guesses(proxy: RunningProxy) -> None:
    for _ in range(13):
        await proxy.ask("GET", "/", credential=basic("coordinator", "not-the-password-of-this-peer"))
    told = await metrics(proxy)
    assert (told["wrong_credentials_total",], told["lockouts_total",]) == (13, 3)
    assert (told["refusals_total", "invalid_credentials"], told["refusals_total", "locked_out"]) == (10, 3)


async def test_they_tell_what_runs_now(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    goes_on = asyncio.Event()

    async def script(_: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await goes_on.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    agent.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("POST", "/v1/x", "Content-Length: 0"))
        await until(lambda: len(agent.requests) == 1, seconds=5)
        assert (await metrics(proxy))["open_exchanges", "agent"] == 1
        goes_on.set()
        await client.reply()
    assert (await metrics(proxy))["open_exchanges", "agent"] == 0


async def test_a_tunnel_is_an_exchange_until_it_opens_and_then_a_tunnel(
    proxy: RunningProxy, dashboard: RecordingUpstream
) -> None:
    async def script(_: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 101 X\r\n{AGREED}\r\n\r\n".encode())
        writer.write(await reader.readexactly(5))
        await reader.read()

    dashboard.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("GET", "/api/ws", *WEBSOCKET))
        await client.head()
        client.send(b"hello")
        assert await client.exactly(5) == b"hello"
        told = await metrics(proxy)
        assert (told["open_tunnels", "dashboard"], told["open_exchanges", "dashboard"]) == (1, 0)
        assert (told["requests_total", "dashboard", "1xx"], told["request_duration_seconds_count", "dashboard"]) == (
            1,
            1,
        )
    await until(lambda: not proxy.server.calls, seconds=5)
    told = await metrics(proxy)
    assert told["open_tunnels", "dashboard"] == 0
    assert (told["received_bytes_total", "dashboard"], told["sent_bytes_total", "dashboard"]) == (5, 5)


async def test_a_stranger_reads_none(proxy: RunningProxy) -> None:
    assert (await proxy.ask("GET", "/-/metrics", credential=None)).status == 401
