"""The real command: what stops the start, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from doubles.running_proxy import KEY, PASSWORD, write_secret
from free_ports import port
from switchboard_proxy import cli
from switchboard_service.listen import ListenError

COMMAND = Path(sys.executable).parent / "switchboard-proxy"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    write_secret(tmp_path / "proxy_password", PASSWORD)
    write_secret(tmp_path / "api_server_key", KEY)
    return {
        "PATH": os.environ["PATH"],
        "SWITCHBOARD_PROXY_LISTEN_ADDRESS": "127.0.0.1",
        "SWITCHBOARD_PROXY_PORT": str(port("127.0.0.1")),
        "SWITCHBOARD_PROXY_SECRETS_FOLDER": str(tmp_path),
    }


def run(command: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, command], env=environ, capture_output=True, text=True, timeout=30, check=False)


Refused = Callable[..., list[str]]


@pytest.fixture
def refused(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Starts the command in this process and gives what it says; it must end with 78, where it would serve at last."""

    def serve(*_: object) -> None:
        raise ListenError("it would serve")

    def start(**changes: str) -> list[str]:
        for name, value in (environ | {f"SWITCHBOARD_PROXY_{key}": value for key, value in changes.items()}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["switchboard-proxy", "serve"])
        monkeypatch.setattr(cli, "serve", serve)
        monkeypatch.setattr("switchboard_service.logs.configure", lambda **_: None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 78
        out, err = capsys.readouterr()
        assert out == ""
        return err.splitlines()

    return start


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "203.0.113.9", "::ffff:100.64.0.9", "100.128.0.1"])
def test_an_address_that_others_can_reach_stops_the_start(address: str, refused: Refused) -> None:
    [sentence] = refused(LISTEN_ADDRESS=address)
    assert f"SWITCHBOARD_PROXY_LISTEN_ADDRESS is {ip_address(address)}" in sentence


def test_the_real_command_ends_with_78(environ: dict[str, str]) -> None:
    ended = run("serve", environ | {"SWITCHBOARD_PROXY_LISTEN_ADDRESS": "0.0.0.0"})
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (78, "", 1)


@pytest.mark.parametrize("address", ["100.64.0.0", "100.127.255.255", "fd7a:115c:a1e0::1"])
def test_an_address_of_the_tailnet_is_good(address: str, refused: Refused) -> None:
    assert refused(LISTEN_ADDRESS=address) == ["switchboard-proxy: it would serve"]


def test_the_operator_may_allow_any_address(refused: Refused) -> None:
    said = refused(LISTEN_ADDRESS="0.0.0.0", ALLOW_UNTRUSTED_BIND="yes")
    assert said == ["switchboard-proxy: it would serve"]


@pytest.mark.parametrize("file", ["proxy_password", "api_server_key"])
@pytest.mark.parametrize("fault", ["missing", "empty", "short", "open"])
def test_a_secret_that_is_not_fit_stops_the_start_by_name(
    file: str, fault: str, refused: Refused, tmp_path: Path
) -> None:
    path = tmp_path / file
    path.unlink()
    value = {"missing": "", "empty": "", "short": "tooshort-secret", "open": "long-enough-secret-value"}[fault]
    if fault != "missing":
        write_secret(path, value, 0o444 if fault == "open" else 0o400)
    [sentence] = refused()
    assert str(path) in sentence
    assert not value or value not in sentence


def test_all_mistakes_stop_the_start_at_once(refused: Refused) -> None:
    assert len(refused(PORT="x", USER="a:b")) == 2


@pytest.fixture
def serving(environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([COMMAND, "serve"], env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 20
            while run("ready", environ).returncode:
                assert time.monotonic() < deadline
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_ready_tells_and_sigterm_ends_with_0(environ: dict[str, str], serving: subprocess.Popen[str]) -> None:
    stranger = run("ready", environ | {"SWITCHBOARD_PROXY_USER": "somebody"})
    assert (stranger.returncode, "answers 401" in stranger.stderr) == (1, True)
    serving.send_signal(signal.SIGTERM)
    out, _ = serving.communicate(timeout=20)
    assert serving.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["status"] for line in lines if line["event"] == "request"] == [200, 401]
    assert PASSWORD not in out
    assert KEY not in out
    gone = run("ready", environ)
    assert (gone.returncode, "no proxy answers" in gone.stderr) == (1, True)


def test_looking_whether_it_is_ready_loads_little() -> None:
    script = "import sys, switchboard_proxy.ready; print(*{name.split('.')[0] for name in sys.modules})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not {"structlog", "rich"} & {*told.stdout.split()}
