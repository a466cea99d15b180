"""Secrets change while requests pass, and none of them is dropped."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from doubles.proxy_command import ProxyCommand
from doubles.raw_client import basic
from doubles.recording_upstream import Asked, RecordingUpstream, answer
from doubles.running_proxy import BASIC, KEY, RunningProxy, write_secret
from waiting import until

NEXT = "fedcba9876543210fedcba9876543210"
NEXT_BASIC = basic("coordinator", NEXT)
NEXT_KEY = "the-next-api-server-key-0123"


def replace(path: Path, value: str) -> None:
    """As a careful operator does it, and Ansible: a rename."""
    write_secret(path.with_suffix(".new"), value)
    path.with_suffix(".new").rename(path)


def overwrite(path: Path, value: str) -> None:
    path.chmod(0o600)
    path.write_text(value)


def passes(command: ProxyCommand, credential: str, status: int = 200) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return (await command.ask("GET", "/v1/models", credential=credential)).status == status

    return asked


def passes_itself(command: ProxyCommand, credential: str) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return (await command.ask("GET", "/-/ready", credential=credential)).status == 200

    return asked


@pytest.mark.parametrize("change", [replace, overwrite])
async def test_a_pair_is_rotated_under_load_without_a_dropped_request(
    change: Callable[[Path, str], None], command: ProxyCommand
) -> None:
    credential, statuses, is_over = BASIC, [], False

    async def load() -> None:
        while not is_over:
            statuses.append(
                (await command.ask("POST", "/v1/chat/completions", body=b"{}", credential=credential)).status
            )

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(load())
        replace(command.secrets / "proxy_password_next", NEXT)
        await until(passes(command, NEXT_BASIC), seconds=10)  # both count now
        assert await passes(command, BASIC)()
        credential = NEXT_BASIC  # the coordinator goes over to the new one
        await asyncio.sleep(0.1)
        change(command.secrets / "proxy_password", NEXT)
        (command.secrets / "proxy_password_next").unlink()
        await until(passes(command, BASIC, 401), seconds=10)  # the old one counts no more
        is_over = True
    assert set(statuses) == {200}
    assert len(statuses) > 10


async def test_the_next_password_counts_also_when_it_is_renamed_in_the_middle_of_a_look(
    proxy: RunningProxy, tmp_path: Path
) -> None:
    replace(tmp_path / "proxy_password_next", NEXT)
    first, *others = proxy.app.secrets
    first.refresh()
    (tmp_path / "proxy_password_next").rename(tmp_path / "proxy_password")
    for secret in others:
        secret.refresh()
    proxy.app.renew()
    assert (await proxy.ask("GET", "/-/ready", credential=NEXT_BASIC)).status == 200


async def test_who_asks_for_the_profiles_is_told_which_of_the_two_passwords_it_showed(
    proxy: RunningProxy, tmp_path: Path
) -> None:
    async def shown(credential: str) -> object:
        return (await proxy.ask("GET", "/-/profiles", credential=credential)).json()["credential"]

    replace(tmp_path / "proxy_password_next", NEXT)
    for secret in proxy.app.secrets:
        secret.refresh()
    proxy.app.renew()
    assert (await shown(BASIC), await shown(NEXT_BASIC)) == ("current", "next")
    (tmp_path / "proxy_password_next").rename(tmp_path / "proxy_password")
    for secret in proxy.app.secrets:
        secret.refresh()
    proxy.app.renew()
    assert await shown(NEXT_BASIC) == "current"


async def test_sighup_reads_the_files_at_once(command: ProxyCommand) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for turn in range(10):  # a look each second would take ten
        password = f"{turn}-{NEXT}"
        replace(command.secrets / "proxy_password", password)
        command.signal(signal.SIGHUP)
        await until(passes_itself(command, basic("coordinator", password)), seconds=10)
    assert loop.time() - began < 5


async def test_a_running_stream_goes_on(command: ProxyCommand, agent: RecordingUpstream) -> None:
    goes_on = asyncio.Event()

    async def script(_: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await goes_on.wait()
        writer.write(b"cd")

    agent.script = script
    async with command.connect() as running:
        running.send(command.head("POST", "/v1/x", "Content-Length: 0"))
        await running.head()
        replace(command.secrets / "proxy_password", NEXT)
        await until(passes_itself(command, NEXT_BASIC), seconds=10)
        goes_on.set()
        assert await running.exactly(4) == b"abcd"


async def test_what_is_unfit_changes_nothing_and_is_told_once(command: ProxyCommand) -> None:
    overwrite(command.secrets / "proxy_password", "short")
    await until(lambda: len(command.lines("secret_unfit")) == 1, seconds=10)
    assert await passes(command, BASIC)()
    overwrite(command.secrets / "api_server_key", "")
    await until(lambda: len(command.lines("secret_unfit")) == 2, seconds=10)
    replace(command.secrets / "proxy_password", NEXT)
    await until(passes(command, NEXT_BASIC), seconds=10)
    told = command.lines("secret_unfit")
    assert [("proxy_password" in line["problem"], "api_server_key" in line["problem"]) for line in told] == [
        (True, False),
        (False, True),
    ]


class Agent:
    """Takes one key, which may change; counts what it executes."""

    def __init__(self) -> None:
        self.key = KEY
        self.executed: list[bytes] = []

    async def script(self, asked: Asked, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked.all("authorization") != [f"Bearer {self.key}"]:
            writer.write(answer(401, "WWW-Authenticate: Bearer", body=b'{"error":{"code":"invalid_api_key"}}'))
            return
        self.executed.append(asked.body)
        writer.write(answer(200, body=b"ran"))


@pytest.fixture
def keyed(agent: RecordingUpstream) -> Agent:
    keyed = Agent()
    agent.script = keyed.script
    return keyed


@pytest.mark.parametrize("cut", [None, 5, 40_000])
async def test_after_an_agents_401_its_key_file_is_read_once_more_and_the_turn_runs_once(
    cut: int | None, proxy: RunningProxy, keyed: Agent, agent: RecordingUpstream, tmp_path: Path
) -> None:
    keyed.key = NEXT_KEY
    replace(tmp_path / "api_server_key", NEXT_KEY)
    body = json.dumps({"text": "x" * 60_000}).encode()
    async with proxy.connect() as client:
        client.send(proxy.head("POST", "/v1/chat/completions", f"Content-Length: {len(body)}") + body[: cut or None])
        if cut is not None:
            await until(lambda: agent.connections == 1, seconds=5)
            client.send(body[cut:])
        reply = await client.reply()
    assert (reply.status, reply.body) == (200, b"ran")
    assert keyed.executed == [body]
    assert len(agent.requests) == 2


async def test_where_the_key_did_not_change_the_agents_401_is_passed_on(
    proxy: RunningProxy, keyed: Agent, agent: RecordingUpstream
) -> None:
    keyed.key = NEXT_KEY
    reply = await proxy.ask("POST", "/v1/chat/completions", body=b"{}")
    assert (reply.status, reply["www-authenticate"], keyed.executed) == (401, None, [])
    assert len(agent.requests) == 1


async def test_a_second_401_is_the_answer(
    proxy: RunningProxy, keyed: Agent, agent: RecordingUpstream, tmp_path: Path
) -> None:
    keyed.key = "a-key-that-nobody-has-01"
    replace(tmp_path / "api_server_key", NEXT_KEY)
    assert (await proxy.ask("POST", "/v1/chat/completions", body=b"{}")).status == 401
    assert (len(agent.requests), keyed.executed) == (2, [])
