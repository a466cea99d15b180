"""`switchboard drain`, `undrain` and `peers --json`, in processes of their own, the key on standard input."""

import asyncio
import json
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from coordinator.keyring import give
from coordinator.stage import WAIT_SECONDS, Stage
from waiting import until

PROGRAM = Path(sys.executable).parent / "switchboard"


class Told(NamedTuple):
    """What a command ended with."""

    status: int
    out: str
    err: str


class Shell:
    """Runs commands as one who may drain."""

    def __init__(self, stage: Stage, key: str) -> None:
        self._stage = stage
        self._key = key

    async def run(self, *words: str, key: str | None = None) -> Told:
        """The key stands in no argument and in no variable."""
        process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *(*words, "--url", self._stage.url, "--key-file", "-"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={},
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate(f"{key or self._key}\n".encode())
        return Told(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def shell(stage: Stage) -> Shell:
    key = give(stage, "boss", "*", "admin")
    await stage.machine("nas")
    await stage.start()
    return Shell(stage, key)


async def runs(stage: Stage) -> bool:
    return int((await stage.peers())["nas"]["turns"]["running"]) > 0


async def is_draining(stage: Stage) -> bool:
    return await stage.state("nas") == "draining"


async def test_drain_and_undrain_say_what_is_so_then(stage: Stage, shell: Shell) -> None:
    assert await shell.run("drain", "nas") == (0, "nas is drained, and no turn runs there\n", "")
    assert await stage.state("nas") == "draining"
    assert await shell.run("drain", "nas", "--wait", "0") == (0, "nas is drained, and no turn runs there\n", "")
    assert await shell.run("undrain", "nas") == (0, "nas is drained no more, and is up\n", "")
    assert await shell.run("undrain", "nas") == (0, "nas is drained no more, and is up\n", "")


async def test_drain_waits_for_the_turns_that_run(stage: Stage, shell: Shell) -> None:
    turn = (await stage.begin("nas", "!!silence=60 hi")).json()["id"]
    await until(lambda: runs(stage), seconds=WAIT_SECONDS)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(shell.run("drain", "nas", "--wait", "50"))
        await until(lambda: is_draining(stage), seconds=5 * WAIT_SECONDS)
        await stage.client.post(f"/api/turns/{turn}/cancel")
    assert waiting.result() == (0, "nas is drained, and no turn runs there\n", "")


async def test_turns_that_run_on_are_told_with_75_and_it_stays_drained(stage: Stage, shell: Shell) -> None:
    for _ in range(2):
        await stage.begin("nas", "!!silence=60 hi")
    await until(lambda: runs(stage), seconds=WAIT_SECONDS)
    told = await shell.run("drain", "nas", "--wait", "0.2")
    assert told == (75, "", "switchboard: nas is drained, and 2 turns run there after 0.2 s\n")
    assert await stage.state("nas") == "draining"
    assert (await shell.run("drain", "nas")).out == "nas is drained, and 2 turns run there\n"


async def test_who_undrains_meanwhile_ends_the_wait_with_words(stage: Stage, shell: Shell) -> None:
    await stage.begin("nas", "!!silence=60 hi")
    await until(lambda: runs(stage), seconds=WAIT_SECONDS)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(shell.run("drain", "nas", "--wait", "50"))
        await until(lambda: is_draining(stage), seconds=5 * WAIT_SECONDS)
        assert (await shell.run("undrain", "nas")).status == 0
    assert waiting.result() == (1, "", "switchboard: nas was put back by somebody else, and is up\n")


@pytest.mark.parametrize("command", ["drain", "undrain"])
async def test_what_cannot_be_is_told_with_1(stage: Stage, shell: Shell, command: str) -> None:
    assert await shell.run(command, "tower") == (1, "", "switchboard: there is no peer 'tower'; there are nas\n")
    told = await shell.run(command, "nas", key=stage.key)
    assert (told.status, told.out) == (1, "")
    assert "lacks the scope admin" in told.err
    assert (await shell.run(command, "nas", key="short")).status == 2


async def test_peers_as_json_are_what_the_coordinator_answers(stage: Stage, shell: Shell) -> None:
    told = await shell.run("peers", "--json")
    (nas,) = json.loads(told.out)["peers"]
    assert (told.status, nas["name"], nas["credential"], nas["draining_since"]) == (0, "nas", "current", None)
    await shell.run("drain", "nas")
    assert "nas: drained since " in (await shell.run("peers")).out
