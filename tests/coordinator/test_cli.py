"""The command `switchboard`, as a person types it."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from coordinator.stage import OddPeer, Stage, plain_client, private, refusal, streaming
from doubles.serving import listening
from structlog.testing import LogCapture
from switchboard_coordinator.command import ask, cli
from switchboard_coordinator.database import migrate
from switchboard_coordinator.keys.consumers_file import add_consumer
from switchboard_coordinator.peers.peers_file import schema
from waiting import until

PREFIX = "SWITCHBOARD_COORDINATOR_"
PROGRAM = Path(sys.executable).parent / "switchboard"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the coordinator's own lines out of the commands' output, and the shell's settings out of the commands."""
    for name in [name for name in os.environ if name.startswith("SWITCHBOARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    structlog.configure(processors=[LogCapture()])
    yield
    structlog.reset_defaults()


class Shell:
    """Runs commands in this process; `out` and `err` are what the last one wrote."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self.out = self.err = ""

    def run(self, *words: str) -> int:
        """The exit status."""
        self._capture.readouterr()
        try:
            cli.app(words)
        except SystemExit as ended:
            self.out, self.err = self._capture.readouterr()
            return int(ended.code or 0)
        raise AssertionError("a command ends by itself")

    async def run_beside(self, *words: str) -> int:
        """The same, while the event loop goes on."""
        return await asyncio.to_thread(self.run, *words)


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


async def asking(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.start()
    monkeypatch.setenv("SWITCHBOARD_URL", stage.url)
    monkeypatch.setenv("SWITCHBOARD_KEY_FILE", str(private(stage.folder / "key", stage.key + "\n")))


async def test_ask_shows_one_lanes_answer_and_nothing_else(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.machine("nas", profiles=("default", "work"))
    await asking(stage, monkeypatch)
    assert await shell.run_beside("ask", "how [bold]are[/bold] you", "--to", "work@nas") == 0
    assert shell.out == "[nas/work] echo: how [bold]are[/bold] you\n"
    assert shell.err == ""


async def test_ask_shows_every_lane_of_a_group_under_its_address(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.machine("nas")
    await stage.machine("laptop")
    await asking(stage, monkeypatch)
    assert await shell.run_beside("ask", '!!tool=terminal:{"command":"x"} ping', "--to", "all@fleet") == 0
    parts = sorted(part.split() for part in shell.out.split("default@") if part)
    assert parts == [["laptop", "[laptop]", "echo:", "ping"], ["nas", "[nas]", "echo:", "ping"]]


async def test_ask_exits_1_and_says_which_lane_failed(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.machine("nas")
    stage.peer("tower", 9)
    await asking(stage, monkeypatch)
    assert await shell.run_beside("ask", "ping", "--to", "all@fleet") == 1
    assert "[nas] echo: ping" in shell.out
    assert shell.err.startswith("switchboard: default@tower: tower takes no connection at 127.0.0.1:9")
    assert shell.err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "to", "words"),
    [
        ("!!die hello there, you", "nas", "default@nas broke off its answer"),
        ("!!fail=401 x", "nas", "HTTP 401"),
        ("hi", "laptop", "there is no peer 'laptop'"),
        ("hi", "tower", "tower takes no connection"),
    ],
)
async def test_ask_exits_1_when_there_was_no_whole_answer(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch, text: str, to: str, words: str
) -> None:
    await stage.machine("nas")
    stage.peer("tower", 9)
    await asking(stage, monkeypatch)
    assert await shell.run_beside("ask", text, "--to", to) == 1
    assert words in shell.err


async def test_a_wrong_key_is_told(stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    await asking_alone(stage, monkeypatch)
    private(stage.folder / "key", "sk-switchboard-a-wrong-one")
    for words in (("ask", "hi", "--to", "nas"), ("peers",)):
        assert await shell.run_beside(*words) == 1
        assert shell.err == "switchboard: no consumer has this key: send it as `Authorization: Bearer …`\n"


async def asking_alone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.peer("tower", 9)
    await asking(stage, monkeypatch)


async def test_peers_shows_how_every_peer_was_found(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.machine("nas", capabilities=["home"])
    stage.peer("tower", 9)
    await asking(stage, monkeypatch)
    assert await shell.run_beside("peers") == 0
    _, nas, tower, detail = shell.out.splitlines()
    assert nas.split()[:2] == ["default@nas", "up"]
    assert nas.split()[-2:] == ["0.19.0", "home"]
    assert tower.split()[:2] == ["default@tower", "down"]
    assert detail.startswith("default@tower: its proxy does not answer")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "the coordinator broke off its answer"),
        (refusal(404, b"<html>"), "what answers there is no coordinator (status 404)"),
        (refusal(200, b"<html>"), "what answers there is no coordinator (status 200)"),
        (refusal(200, b"{}"), "what answers there is no coordinator (status 200)"),
    ],
)
async def test_what_is_no_coordinator_is_told(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: bytes, words: str
) -> None:
    key = private(stage.folder / "key", "sk-switchboard-any-key")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await shell.run_beside("peers", "--url", url, "--key-file", str(key)) == 1
        assert words in shell.err


async def test_an_answer_that_ends_before_its_end_is_told(stage: Stage, shell: Shell) -> None:
    key = private(stage.folder / "key", "sk-switchboard-any-key")
    frame = b'data: {"choices":[{"index":0,"delta":{"content":"half"},"finish_reason":null}]}\n\n'
    odd = await stage.join(OddPeer(streaming(frame)))
    assert (
        await shell.run_beside(
            "ask", "x", "--to", "nas", "--url", f"http://127.0.0.1:{odd.port}", "--key-file", str(key)
        )
        == 1
    )
    assert shell.out == "half\n"
    assert "ended before its end; the turn may have run" in shell.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nas:9120", "http://[nas"])
def test_no_coordinator_is_told(tmp_path: Path, shell: Shell, url: str) -> None:
    key = private(tmp_path / "key", "sk-switchboard-any-key")
    assert shell.run("ask", "hi", "--to", "nas", "--url", url, "--key-file", str(key)) == 1
    assert shell.err.startswith(f"switchboard: no coordinator answers at {url}: ")


def test_a_command_that_is_wrong_exits_2(tmp_path: Path, shell: Shell) -> None:
    key = private(tmp_path / "key", "sk-switchboard-any-key")
    assert shell.run("ask", "hi") == 2
    assert shell.run("ask", "hi", "--to", "nas") == 2
    assert "SWITCHBOARD_KEY_FILE" in shell.err
    assert shell.run("ask", "hi", "--to", "nas", "--key-file", str(tmp_path / "none")) == 2
    assert "is missing" in shell.err
    assert shell.run("ask", "hi", "--to", "NAS/x", "--key-file", str(key)) == 2
    assert "is no model id" in shell.err


def test_a_person_who_has_seen_enough_ends_it_quietly(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ask.Coordinator, "ask", interrupted)
    key = private(tmp_path / "key", "sk-switchboard-any-key")
    assert shell.run("ask", "hi", "--to", "nas", "--key-file", str(key)) == 130
    assert shell.err == ""


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: str) -> dict[str, str]:
    """A whole configuration, in the environment."""
    (folder / "peers.yaml").write_text("peers: {nas: {host: 127.0.0.1, port: 9, password_file: nas_password}}")
    private(folder / "nas_password", "a-password-0123456789")
    if not (folder / "consumers").exists():
        private(folder / "key", add_consumer(folder / "consumers", "me"))
    env = {"LISTEN_ADDRESS": "127.0.0.1", "PEERS_FILE": str(folder / "peers.yaml"), "SECRETS_FOLDER": str(folder)}
    env["DATABASE_FILE"] = str(folder / "switchboard.db")
    env = {PREFIX + name: value for name, value in (env | settings).items()}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return env


def test_check_finds_nothing_wrong_where_nothing_is(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(tmp_path, monkeypatch)
    assert shell.run("check") == 0
    assert shell.out == f"{tmp_path}/peers.yaml: 1 peers, no mistakes\n"


@pytest.mark.parametrize("command", ["check", "serve"])
def test_all_mistakes_of_the_configuration_are_told_at_once(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    configured(tmp_path, monkeypatch, LISTEN_ADDRESS="0.0.0.0")
    (tmp_path / "nas_password").write_text("short")
    (tmp_path / "consumers").chmod(0o644)
    assert shell.run(command) == 78
    told = shell.err.splitlines()
    assert [line.partition(": ")[0] for line in told] == ["switchboard"] * 3
    assert PREFIX + "LISTEN_ADDRESS is 0.0.0.0" in told[0]
    assert f"{tmp_path}/nas_password is too short" in told[1]
    assert f"{tmp_path}/consumers is open to group or others" in told[2]
    (tmp_path / "peers.yaml").write_text("peers:\n  Nas: {host: x}\n")
    private(tmp_path / "consumers", "me not-a-digest").chmod(0o600)
    assert shell.run(command) == 78
    assert f"{tmp_path}/peers.yaml line 2: `peers.Nas` is no name" in shell.err
    assert f"{tmp_path}/consumers line 1: must be a name and a SHA-256 digest" in shell.err
    assert "not-a-digest" not in shell.err


def test_settings_that_are_wrong_are_told_by_variable(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIX + "PORTT", "1")
    for command in ("check", "ready", "serve"):
        assert shell.run(command) == 78
        assert f"switchboard: {PREFIX}PORTT is not known, did you mean `{PREFIX}PORT`?" in shell.err


def test_a_port_that_is_taken_is_told(tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard_service.logs.configure", lambda **_: None)
    with listening() as listener:
        port = listener.getsockname()[1]
        configured(tmp_path, monkeypatch, PORT=str(port))
        assert shell.run("serve") == 78
        assert f"port {port} of 127.0.0.1 is taken" in shell.err


def test_a_database_that_cannot_be_used_ends_the_start(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_service.logs.configure", lambda **_: None)
    with listening() as listener:
        port = listener.getsockname()[1]
    configured(tmp_path, monkeypatch, PORT=str(port), DATABASE_FILE=str(tmp_path / "no" / "switchboard.db"))
    assert shell.run("serve") == 78
    assert shell.err.startswith(f"switchboard: {tmp_path}/no is no folder: make it")


def test_check_looks_at_the_database_and_changes_nothing(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "switchboard.db"
    configured(tmp_path, monkeypatch)
    assert shell.run("check") == 0
    assert not file.exists()
    file.write_bytes(b"")
    assert shell.run("check") == 0
    assert file.stat().st_size == 0
    migrate(file)
    assert shell.run("check") == 0
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("update alembic_version set version_num = '9999'")
        connection.execute("pragma user_version = 9999")
    assert shell.run("check") == 78
    assert shell.err == f"switchboard: {file} belongs to a newer version of Switchboard: its schema is 9999\n"
    file.write_bytes(b"no database at all, " * 100)
    assert shell.run("check") == 78
    assert f"{file} cannot be used: file is not a database" in shell.err
    configured(tmp_path, monkeypatch, DATABASE_FILE=str(tmp_path / "no" / "switchboard.db"))
    assert shell.run("check") == 78
    assert f"{tmp_path}/no is no folder" in shell.err


async def test_ready_says_whether_a_coordinator_answers(
    stage: Stage, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asking_alone(stage, monkeypatch)
    monkeypatch.setenv(PREFIX + "LISTEN_ADDRESS", "0.0.0.0")
    monkeypatch.setenv(PREFIX + "PORT", stage.url.rpartition(":")[2])
    assert await shell.run_beside("ready") == 0
    monkeypatch.setenv(PREFIX + "PORT", "9")
    assert await shell.run_beside("ready") == 1
    assert "no coordinator answers at 127.0.0.1:9" in shell.err
    odd = await stage.join(OddPeer())
    monkeypatch.setattr(odd, "refuses", lambda _: True)
    monkeypatch.setenv(PREFIX + "PORT", str(odd.port))
    assert await shell.run_beside("ready") == 1
    assert "answers 401 to /readyz" in shell.err


LOADED = "; print(*{name.split('.')[0] for name in sys.modules})"
READY = "import sys, switchboard_coordinator.command.ready"
PEERS = """import contextlib, io, sys
from switchboard_coordinator.command import cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    cli.app(['peers', '--help'])"""


@pytest.mark.parametrize(("script", "more"), [(READY, {"httpx", "typer", "rich"}), (PEERS + "\npass", set())])
def test_who_asks_a_running_coordinator_loads_nothing_of_what_makes_one(script: str, more: set[str]) -> None:
    command = [sys.executable, "-c", script + LOADED]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert not {"sqlalchemy", "alembic", "starlette", "uvicorn", *more} & {*told.stdout.split()}


def test_every_command_is_listed_with_what_it_does(shell: Shell) -> None:
    assert shell.run("--help") == 0
    told = [line.strip(" │").split(maxsplit=1) for line in shell.out.splitlines() if line.startswith("│ ")]
    assert ["keys", "Keys of consumers."] in told
    names = {"serve", "check", "schema", "ready", "ask", "peers", "prove", "doctor", "drain", "undrain", "keys"}
    assert {words[0] for words in told} >= {*names, "backup", "restore"}
    assert shell.run("pears") == 2


def test_the_schema_is_printed(shell: Shell) -> None:
    assert shell.run("schema") == 0
    assert shell.out == schema()


async def test_serve_answers_and_logs_until_sigterm_and_exits_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening() as listener:
        port = listener.getsockname()[1]
    env = configured(tmp_path, monkeypatch, PORT=str(port))
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "serve", env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        headers = {"authorization": f"Bearer {(tmp_path / 'key').read_text()}"}
        async with plain_client(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:

            async def answers() -> bool:
                try:
                    return (await client.get("/v1/models")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(answers, seconds=20)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (process.returncode, err) == (0, b"")
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert any(line["event"] == "request" and line["path"] == "/v1/models" for line in lines)
    assert any(line["event"] == "peer_state" and line["peer"] == "nas" for line in lines)
