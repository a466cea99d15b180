"""The real command where the tailnet comes late, goes and comes back: a network namespace stands for the machine."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doubles.running_proxy import KEY, PASSWORD, write_secret

COMMAND = Path(sys.executable).parent / "switchboard-proxy"
IS_POSSIBLE = os.geteuid() == 0 and shutil.which("unshare") and shutil.which("nsenter") and shutil.which("ip")

pytestmark = pytest.mark.skipif(not IS_POSSIBLE, reason="needs root, unshare, nsenter and ip: run it as root")


class Machine:
    """A network of its own with nothing but loopback, and the proxy's command in it."""

    def __init__(self, address: str, folder: Path) -> None:
        self._address = address
        self._output = folder / "output.log"
        self._environ = {
            "PATH": os.environ["PATH"],
            "SWITCHBOARD_PROXY_LISTEN_ADDRESS": address,
            "SWITCHBOARD_PROXY_SECRETS_FOLDER": str(folder),
        }
        self._home = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        _until(lambda: Path(f"/proc/{self._home.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())
        self.inside("ip", "link", "set", "lo", "up")
        with self._output.open("wb") as output:
            self.proxy = subprocess.Popen(self._enter(str(COMMAND), "serve"), env=self._environ, stdout=output)

    def _enter(self, *command: str) -> list[str]:
        return ["nsenter", "--net", "--target", str(self._home.pid), *command]

    def inside(self, *command: str) -> int:
        """Run a command on this machine; its exit status."""
        done = subprocess.run(self._enter(*command), env=self._environ, capture_output=True, timeout=30, check=False)
        return done.returncode

    def address(self, change: str) -> None:
        """`add` or `del` the tailnet's address."""
        width = 128 if ":" in self._address else 32
        nodad = ["nodad"] if ":" in self._address and change == "add" else []
        assert self.inside("ip", "address", change, f"{self._address}/{width}", "dev", "lo", *nodad) == 0

    def is_ready(self) -> bool:
        """Whether the proxy answers."""
        return self.inside(str(COMMAND), "ready") == 0

    def told(self, event: str) -> int:
        """How often it logged this."""
        return sum(json.loads(line)["event"] == event for line in self._output.read_text().splitlines())

    def end(self) -> None:
        for process in (self.proxy, self._home):
            process.kill()
            process.wait()


def _until(holds: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(params=["100.64.0.9", "fd7a:115c:a1e0::9"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    write_secret(tmp_path / "proxy_password", PASSWORD)
    write_secret(tmp_path / "api_server_key", KEY)
    machine = Machine(request.param, tmp_path)
    yield machine
    machine.end()


def test_it_waits_for_the_tailnet_answers_when_it_is_up_and_again_when_it_came_back(machine: Machine) -> None:
    _until(lambda: machine.told("waits_for_address") == 1)
    assert not machine.is_ready()
    machine.address("add")
    _until(machine.is_ready)
    machine.address("del")
    assert not machine.is_ready()
    machine.address("add")
    _until(machine.is_ready)
    assert (machine.told("waits_for_address"), machine.told("listening")) == (1, 1)


def test_told_to_stop_while_it_waits_it_stops(machine: Machine) -> None:
    _until(lambda: machine.told("waits_for_address") == 1)
    machine.proxy.send_signal(signal.SIGTERM)
    assert machine.proxy.wait(15) == 0
