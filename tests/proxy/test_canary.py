"""No secret is in a log, a metric, an error, an argument or the environment."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from doubles.proxy_command import COMMAND, ProxyCommand, proxy_command
from doubles.raw_client import WEBSOCKET, basic
from doubles.recording_upstream import RecordingUpstream, answer
from doubles.running_proxy import BASIC, KEY, PASSWORD, write_secret

NEXT = "canary-of-the-next-password-01"
GUESS = "canary-of-a-guess-0123456789"
QUERY = "canary-of-a-session-token-01"
COOKIE = "canary-of-a-cookie-0123456789"
BODY = "canary-of-a-users-text-012345"
OF_THE_MACHINE = (PASSWORD, NEXT, KEY, BASIC.split()[1], basic("coordinator", NEXT).split()[1])
OF_CLIENTS = (GUESS, basic("coordinator", GUESS).split()[1], QUERY, COOKIE, BODY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    return tmp_path / "secrets"


@pytest.mark.parametrize("environment", [{}, {"PYTHONDEVMODE": "1"}], ids=["as usual", "all that Python warns of"])
async def test_no_secret_shows(
    environment: dict[str, str],
    folder: Path,
    agent: RecordingUpstream,
    dashboard: RecordingUpstream,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_secret(folder / "proxy_password_next", NEXT)
    async with proxy_command(
        folder, agent_port=agent.port, dashboard_port=dashboard.port, environment=environment
    ) as command:
        socket_cookie = await shown_to_a_socket(command, dashboard)
        told = await everything_asked(command, agent, dashboard)
        process = Path(f"/proc/{command.process.pid}")
        told += [(process / name).read_text(errors="replace") for name in ("cmdline", "environ")]
        command.signal(signal.SIGTERM)
        assert await command.ended() == 0
        told += [command.output.read_text(), *capfd.readouterr()]
    written = "\n".join(told)
    assert len(command.lines("request")) >= 5
    assert [secret for secret in (*OF_THE_MACHINE, *OF_CLIENTS, socket_cookie) if secret in written] == []


async def shown_to_a_socket(command: ProxyCommand, dashboard: RecordingUpstream) -> str:
    """The cookie that a page brought, shown at a handshake; its signature."""
    dashboard.always(answer(200, "Content-Type: text/html", body=b"<html>"))
    [cookie] = (await command.ask("GET", "/")).all("set-cookie")
    pair = cookie.split(";")[0]
    headers = (*WEBSOCKET, f"Origin: http://{command.host}", f"Cookie: {pair}")
    for path in (f"/api/ws?token={QUERY}", "/-/none"):
        await command.ask("GET", path, *headers, credential=None)
    assert (await command.ask("GET", "/api/ws", *WEBSOCKET, f"Cookie: {pair}", credential=None)).status == 401
    dashboard.always(answer(200, body=b"ok"))  # no other answer brings one
    return pair.partition(".")[2]


async def everything_asked(command: ProxyCommand, agent: RecordingUpstream, dashboard: RecordingUpstream) -> list[str]:
    """Ask in every way that leads to a line, an error or a metric; what was answered, but for upstreams' bodies."""
    headers = (f"Cookie: hermes={COOKIE}", f"X-Hermes-Session-Token: {QUERY}")
    answers = []

    async def ask(method: str, path: str, credential: str = BASIC, body: bytes | None = None) -> None:
        reply = await command.ask(method, path, *headers, credential=credential, body=body)
        answers.append(f"{reply.status} {reply.headers} {reply.body.decode()}")

    await ask("POST", f"/v1/chat/completions?token={QUERY}", body=BODY.encode())
    for credential in (basic("coordinator", GUESS), f"Bearer {GUESS}", basic("coordinator", NEXT)):
        await ask("GET", f"/api/status?token={QUERY}", credential)
    agent.always(answer(401, body=b"{}"))
    await ask("POST", "/v1/chat/completions", body=BODY.encode())
    agent.always(b"no HTTP at all\r\n\r\n")
    await ask("POST", f"/v1/x?token={QUERY}", body=BODY.encode())
    dashboard.always(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    async with command.connect() as client:
        client.send(command.head("GET", f"/?token={QUERY}", *headers))
        await client.head()
    for path in ("/-/none", "/p/nobody/v1/x", f"//x?token={QUERY}", "/-/metrics", "/-/profiles", "/-/ready"):
        await ask("GET", path)
    async with command.connect() as client:
        client.send(f"GET /{QUERY} HTTP/1.1\r\nAuthorization: Basic {GUESS}\r\nbad header\r\n\r\n".encode())
        answers.append((await client.reply()).body.decode())
    write = command.secrets / "api_server_key"
    write.chmod(0o600)
    write.write_text("short")
    command.signal(signal.SIGHUP)
    await ask("GET", "/-/ready")
    return answers


MISPLACED = "canary-misplaced-0123456789"


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (f"{MISPLACED} and a blank", {}),
        (f"user:{MISPLACED}\nmore", {}),
        (MISPLACED * 200, {}),
        (PASSWORD, {"PASSWORD": MISPLACED}),
        (PASSWORD, {"PORT": MISPLACED}),
        (PASSWORD, {"PROFILES": json.dumps({"default": {"port": 1, "key": MISPLACED}})}),
        (PASSWORD, {"PROFILES": json.dumps({"default": {"port": MISPLACED}})}),
        (PASSWORD, {"PROFILES": f"{{{MISPLACED}"}),
        (PASSWORD, {"PUBLIC_ORIGINS": f"https://{MISPLACED}@nas.example"}),
        (PASSWORD, {"NAMES": f"nas,{MISPLACED}@nas"}),
        (PASSWORD, {"USER": f"user:{MISPLACED}"}),
        (PASSWORD, {"LISTEN_ADDRESS": MISPLACED}),
    ],
)
def test_a_start_that_is_refused_does_not_repeat_what_is_wrong(
    content: str, settings: dict[str, str], folder: Path
) -> None:
    write_secret(folder / "proxy_password", content)
    write_secret(folder / "api_server_key", KEY)
    told = {"LISTEN_ADDRESS": "127.0.0.1", "SECRETS_FOLDER": str(folder), **settings}
    environ = {f"SWITCHBOARD_PROXY_{name}": value for name, value in told.items()} | {"PATH": os.environ["PATH"]}
    ended = subprocess.run([COMMAND, "serve"], env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 78
    assert MISPLACED not in ended.stdout + ended.stderr
