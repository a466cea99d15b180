"""Renews docs/transcripts/first-light.md from a run against real agents.

PYTHONPATH=tests python -m real_agent.first_light
"""

import asyncio
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fleet.process import PROGRAMS

from real_agent import seed
from real_agent.installation import REPOSITORY
from real_agent.seed import Ran
from real_agent.stage import Stage

TRANSCRIPT = REPOSITORY / "docs/transcripts/first-light.md"
PROXY_PORT = 9121  # the seed's, where it is free
SHOWN = {
    "One machine's proxy: its models": seed.MODELS,
    "One machine's proxy: a turn": seed.CHAT,
    "Everyone at once, through the coordinator": 'switchboard ask "ping" --to all@fleet',
    "How the coordinator finds them": "switchboard peers",
}

HEAD = """\
# First light: one message reaches several real agents and comes back

Taken from a run, not written by hand: `PYTHONPATH=tests .venv/bin/python -m real_agent.first_light` writes it anew.

| | |
|---|---|
| when | {when} |
| agents | hermes-agent {agent}: gateway `nas` with the profiles `default` and `work`, gateway `laptop` with `default` |
| their model | a deterministic one of the tests, without delay: it echoes; no internet |
| before them | Switchboard {ours}: a proxy before each, one coordinator, all plain processes on loopback addresses |
| machine | {machine}, {cpus} CPUs, Python {python}, {curl} |

Passwords and keys are placeholders. Every command ran twice: an agent's first turn since its start loads its libraries.
"""


class Failed(Exception):
    """A command did not do what the transcript is to show."""


async def transcript(stage: Stage) -> str:
    """The document, from commands that are run now.

    Raises:
        Failed: a command failed, or the document would show a secret or a path.
    """
    door = stage.switchboard.doors["nas"]
    env = {
        "PATH": os.pathsep.join([str(PROGRAMS), os.environ.get("PATH", os.defpath)]),
        "SWITCHBOARD_URL": stage.switchboard.url,
        "SWITCHBOARD_KEY_FILE": str(stage.switchboard.key_file),
    }
    parts = [await _head(stage)]
    for title, told in SHOWN.items():
        command = seed.placed(told, door)
        typed = command.replace(seed.PASSWORD, door.password)
        parts.append(_part(title, command, await seed.run(typed, **env), await seed.run(typed, **env)))
    document = "\n".join(parts)
    check_nothing_hidden_is_shown(document, stage)
    return document


def check_nothing_hidden_is_shown(document: str, stage: Stage) -> None:
    """Raises Failed where the document has a secret of the stage or a path of this machine."""
    secrets = [stage.switchboard.key, stage.nas.key, stage.laptop.key]
    secrets += [each.password for each in stage.switchboard.doors.values()]
    if any(each in document for each in (*secrets, str(stage.folder), str(REPOSITORY), str(Path.home()))):
        raise Failed("the transcript would show a secret or a path of this machine")


async def _head(stage: Stage) -> str:
    peers = await stage.switchboard.peers()
    agents = {profile["agent_version"] for peer in peers.values() for profile in peer["profiles"]}
    curl = (await seed.run("curl --version")).output.split(" (")[0]
    return HEAD.format(
        when=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        agent=", ".join(sorted(agents)),
        ours=version("switchboard-coordinator"),
        machine=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count(),
        python=platform.python_version(),
        curl=curl,
    )


def _part(title: str, command: str, ran: Ran, again: Ran) -> str:
    for each in (ran, again):
        if each.status != 0 or not each.output:
            raise Failed(f"{command} ended with status {each.status}: {each.errors or each.output}")
    lines = [f"$ {command}", *ran.output.rstrip().split("\n")]
    block = "\n".join(f"    {line}".rstrip() for line in "\n".join(lines).split("\n"))
    return f"## {title}\n\n{block}\n\n{_times(ran)}; again: {_times(again)}.\n"


def _times(ran: Ran) -> str:
    return f"first output after {ran.first_output_seconds:.2f} s, all after {ran.seconds:.2f} s"


async def _main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Stage(Path(folder), proxy_port=PROXY_PORT) as stage:
            document = await transcript(stage)
    TRANSCRIPT.parent.mkdir(exist_ok=True)
    TRANSCRIPT.write_text(document)
    sys.stdout.write(f"{TRANSCRIPT.relative_to(REPOSITORY)} is renewed\n")


if __name__ == "__main__":
    asyncio.run(_main())
