"""A service that is told to stop: running answers end, or are cut and released; and what is logged meanwhile."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from switchboard_coordinator.serve import Drain, serve
from switchboard_service.listen import open_listener
from waiting import until

TESTS = Path(__file__).parents[1]


class Service:
    """The process, what it printed, and how it is asked."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process, self.client = process, client

    async def ended(self) -> list[str]:
        """Its exit must be 0; the rest of what it printed."""
        output, _ = await self.process.communicate()
        assert self.process.returncode == 0
        return output.decode().splitlines()


@asynccontextmanager
async def service(drain_seconds: float) -> AsyncIterator[Service]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "coordinator.serving", str(drain_seconds)),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:
            yield Service(process, client)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_service_stops_with_status_0(number: signal.Signals) -> None:
    async with service(5) as running:
        answer = await running.client.get("/quick")
        assert answer.text == "begun ended"
        assert not {"server", "date"} & set(answer.headers)
        running.process.send_signal(number)
        assert (await running.ended())[-2:] == ["lifespan ended", "returned"]


async def test_a_running_answer_ends_within_the_drain_and_new_ones_are_not_taken() -> None:
    async with service(20) as running:
        async with running.client.stream("GET", "/slow") as slow, running.client.stream("GET", "/slow") as other:
            pieces, others = slow.aiter_text(), other.aiter_text()
            assert [await anext(pieces), await anext(others)] == ["begun ", "begun "]
            running.process.send_signal(signal.SIGTERM)

            async def is_refusing() -> bool:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", running.client.base_url.port)
                except ConnectionRefusedError:
                    return True
                writer.close()
                return False

            await until(is_refusing, seconds=10)
            running.process.send_signal(signal.SIGUSR1)
            assert [await anext(pieces), await anext(others)] == ["ended", "ended"]
        assert "returned" in await running.ended()


async def test_an_answer_that_does_not_end_is_cut_and_released_before_the_lifespan_ends() -> None:
    async with service(0.2) as running:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            async with running.client.stream("GET", "/endless") as answer:
                async for _ in answer.aiter_text():
                    running.process.send_signal(signal.SIGTERM)
        lines = [line for line in await running.ended() if not line.startswith("{")]
        assert lines == ["released", "lifespan ended", "returned"]


async def test_what_is_logged_is_one_json_object_a_line_and_what_was_expected_is_left_out() -> None:
    async with service(5) as running:
        for path in ("/broken", "/expected"):
            assert (await running.client.get(path)).status_code == 500
        await running.client.get("/logged")
        running.process.send_signal(signal.SIGTERM)
        told = [json.loads(line) for line in (await running.ended())[:-2]]
    broken, logged = told
    assert broken["level"] == "error"
    assert broken["logger"] == "uvicorn.error"
    assert "RuntimeError: the reason" in broken["exception"]
    assert (logged["event"], logged["path"], logged["level"]) == ("request", "/logged", "info")
    assert logged["timestamp"].endswith("Z")


def test_a_lifespan_that_does_not_start_is_no_service() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.failed", "message": "no"})

    before = signal.getsignal(signal.SIGTERM)
    with open_listener(ip_address("127.0.0.1"), 0) as listener, pytest.raises(SystemExit) as ended:
        serve(app, [listener], Drain(1))
    assert ended.value.code == 3
    assert signal.getsignal(signal.SIGTERM) == before
