"""The real command where its address comes late, goes and comes back, as a tailnet's does."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from doubles.network import Network, network
from doubles.raw_client import basic
from doubles.running_proxy import KEY, PASSWORD, write_secret
from waiting import until

COMMAND = Path(sys.executable).parent / "switchboard-proxy"
PORT = 9121
ADDRESSES = ["100.64.0.9", "fd7a:115c:a1e0::9"]


@pytest.fixture
def tailnet() -> Iterator[Network]:
    with network() as made:
        if made is None:
            pytest.skip("run as root on Linux, where `unshare --net true` works: the proxy gets a network of its own")
        yield made


class Waiting:
    """The command in a network that lacks its address."""

    def __init__(self, tailnet: Network, address: str, folder: Path) -> None:
        self._tailnet = tailnet
        self._address = address
        self._output = folder / "log"
        secrets = folder / "secrets"
        secrets.mkdir()
        write_secret(secrets / "proxy_password", PASSWORD)
        write_secret(secrets / "api_server_key", KEY)
        told = {"LISTEN_ADDRESS": address, "PORT": str(PORT), "SECRETS_FOLDER": str(secrets)}
        self._environ = {f"SWITCHBOARD_PROXY_{name}": value for name, value in told.items()}
        self._environ["PATH"] = os.environ["PATH"]

    def start(self) -> subprocess.Popen[bytes]:
        with self._output.open("wb") as output:
            return subprocess.Popen([*self._tailnet.entering, COMMAND, "serve"], env=self._environ, stdout=output)

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._output.read_text().splitlines()]
        return [line for line in lines if line["event"] == event]

    def is_ready(self) -> bool:
        command: list[str | Path] = [*self._tailnet.entering, COMMAND, "ready"]
        return subprocess.run(command, env=self._environ, capture_output=True, check=False, timeout=30).returncode == 0

    def answers(self) -> bool:
        """Whether a connection of its own gets 200."""
        host = f"[{self._address}]:{PORT}" if ":" in self._address else f"{self._address}:{PORT}"
        head = f"GET /-/ready HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic('coordinator', PASSWORD)}\r\n\r\n"
        try:
            with self._tailnet.connect(self._address, PORT) as connection:
                connection.sendall(head.encode())
                return connection.recv(1024).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def waiting(tailnet: Network, address: str, tmp_path: Path) -> Waiting:
    return Waiting(tailnet, address, tmp_path)


@pytest.fixture
def process(waiting: Waiting) -> Iterator[subprocess.Popen[bytes]]:
    with waiting.start() as process:
        try:
            yield process
        finally:
            process.kill()


async def test_it_answers_when_its_address_comes_and_again_when_it_went_and_came_back(
    waiting: Waiting, process: subprocess.Popen[bytes], tailnet: Network, address: str
) -> None:
    await until(lambda: bool(waiting.told("waits_for_address")), seconds=20)
    assert not waiting.is_ready()
    for _ in range(3):
        tailnet.add(address)
        began = time.monotonic()
        await until(waiting.answers, seconds=10)
        print(f"answers {time.monotonic() - began:.2f} s after its address came")
        tailnet.remove(address)
        assert not waiting.answers()
    tailnet.add(address)
    assert waiting.is_ready()
    assert (len(waiting.told("waits_for_address")), len(waiting.told("listening"))) == (1, 1)
    assert f"{address} is not an address of this machine" in waiting.told("waits_for_address")[0]["problem"]
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) == 0


async def test_while_it_waits_it_can_be_ended(waiting: Waiting, process: subprocess.Popen[bytes]) -> None:
    await until(lambda: bool(waiting.told("waits_for_address")), seconds=20)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 20) == 0
    assert not waiting.told("listening")


async def test_a_port_that_is_taken_ends_it_at_once(
    waiting: Waiting, process: subprocess.Popen[bytes], tailnet: Network, address: str
) -> None:
    tailnet.add(address)
    await until(waiting.answers, seconds=20)
    with waiting.start() as second:
        assert await asyncio.to_thread(second.wait, 20) == 78
