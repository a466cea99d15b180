"""The real command where its address comes late, as a tailnet's does, with loopback and without."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from coordinator.stage import private
from doubles.network import Network, network
from waiting import until

COMMAND = Path(sys.executable).parent / "switchboard"
PORT = 9120
ADDRESSES = ["100.64.0.9", "fd7a:115c:a1e0::9"]
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture
def tailnet() -> Iterator[Network]:
    with network() as made:
        if made is None:
            pytest.skip("run as root on Linux, where `unshare --net true` works: the command gets a network of its own")
        yield made


@pytest.fixture(params=ADDRESSES)
def address(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Waiting:
    """The command in a network that lacks its address."""

    def __init__(self, tailnet: Network, address: str, folder: Path) -> None:
        self._tailnet = tailnet
        self.address = address
        self._output = folder / "log"
        (folder / "peers.yaml").write_text("peers: {nas: {host: 127.0.0.1, port: 9, password_file: nas_password}}")
        private(folder / "nas_password", "a-password-0123456789")
        private(folder / "consumers", "")
        told = {"LISTEN_ADDRESS": address, "PEERS_FILE": f"{folder}/peers.yaml", "SECRETS_FOLDER": f"{folder}"}
        told |= {"DATABASE_FILE": f"{folder}/switchboard.db", "PORT": f"{PORT}", "ALSO_ON_LOOPBACK": "yes"}
        self.environ = {f"SWITCHBOARD_COORDINATOR_{name}": value for name, value in told.items()}
        self.environ["PATH"] = os.environ["PATH"]

    def start(self) -> subprocess.Popen[bytes]:
        with self._output.open("wb") as output:
            return subprocess.Popen(
                [*self._tailnet.entering, COMMAND, "serve"], env=self.environ, stdout=output, stderr=subprocess.STDOUT
            )

    def told(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._output.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    @property
    def is_waiting(self) -> bool:
        return bool(self.told("waits_for_address"))

    @property
    def words(self) -> str:
        return self._output.read_text()

    def is_ready(self) -> bool:
        command: list[str | Path] = [*self._tailnet.entering, COMMAND, "ready"]
        return subprocess.run(command, env=self.environ, capture_output=True, check=False, timeout=30).returncode == 0

    def answers_at(self, address: str) -> bool:
        try:
            with self._tailnet.connect(address, PORT) as connection:
                connection.sendall(REQUEST)
                return connection.recv(1024).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False


@pytest.fixture
def waiting(tailnet: Network, address: str, tmp_path: Path) -> Waiting:
    return Waiting(tailnet, address, tmp_path)


async def ended(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(process.wait, 20)


async def test_it_answers_on_loopback_at_once_and_at_its_address_when_that_comes(
    waiting: Waiting, tailnet: Network
) -> None:
    with waiting.start() as process:
        try:
            await until(lambda: waiting.answers_at("127.0.0.1"), seconds=20)
            assert waiting.is_ready()
            await until(lambda: waiting.is_waiting, seconds=20)
            assert not waiting.answers_at(waiting.address)
            for _ in range(2):
                tailnet.add(waiting.address)
                await until(lambda: waiting.answers_at(waiting.address), seconds=10)
                tailnet.remove(waiting.address)
                assert waiting.answers_at("127.0.0.1")
            tailnet.add(waiting.address)
            assert waiting.answers_at(waiting.address)
            assert (len(waiting.told("waits_for_address")), len(waiting.told("listening"))) == (1, 1)
            assert await ended(process) == 0
            assert not waiting.answers_at(waiting.address)
        finally:
            process.kill()


async def test_without_loopback_it_waits_and_can_be_ended_meanwhile(waiting: Waiting) -> None:
    waiting.environ["SWITCHBOARD_COORDINATOR_ALSO_ON_LOOPBACK"] = "no"
    with waiting.start() as process:
        try:
            await until(lambda: waiting.is_waiting, seconds=20)
            assert not waiting.answers_at("127.0.0.1")
            assert not waiting.is_ready()
            assert await ended(process) == 0
            assert not waiting.told("listening")
        finally:
            process.kill()


@contextmanager
def other_service(tailnet: Network) -> Iterator[None]:
    """Has the port at every address, in this block."""
    command = [*tailnet.entering, sys.executable, "-m", "http.server", str(PORT), "--bind", "::"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.kill()


async def test_a_port_that_is_taken_where_its_address_comes_ends_it_with_words(
    waiting: Waiting, tailnet: Network
) -> None:
    def is_taken() -> bool:
        with suppress(OSError), tailnet.connect("127.0.0.1", PORT):
            return True
        return False

    waiting.environ["SWITCHBOARD_COORDINATOR_ALSO_ON_LOOPBACK"] = "no"
    with other_service(tailnet), waiting.start() as process:
        try:
            await until(is_taken, seconds=20)
            await until(lambda: waiting.is_waiting, seconds=20)
            tailnet.add(waiting.address)
            assert await asyncio.to_thread(process.wait, 20) == 78
            assert f"port {PORT} of {waiting.address} is taken" in waiting.words
        finally:
            process.kill()
