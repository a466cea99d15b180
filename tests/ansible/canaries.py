"""Secrets looked for where none may be: in texts, in files of machines, in images, in the list of processes.

A secret is known plain and in Base64, whatever stands before it there: `user:` of Basic, or nothing.
"""

import asyncio
import base64
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from .machine import Machine

SAMPLE_SECONDS = 0.2
LOOKS = 5
"""How often one process is looked at: it may become another program, and does so soon."""
NOBODY = "setpriv --reuid nobody --regid nogroup --clear-groups"
SEARCH = """set -eu
known=$(mktemp)
exec 3<"$known"
cat >"$known"
rm "$known"
chmod 0644 /proc/self/fd/3
cd /
{as_whom} sh -c '{{
  find / /run /tmp /var/lib/docker /var/lib/containerd -xdev -type f -size +0 -print0 |
  xargs -0 -r grep --files-with-matches --text --fixed-strings --file /proc/self/fd/3
}} 2>/dev/null || true' | sort -u
"""
"""What is looked for is in a file that has no name any more, so that it is not found itself."""


class Canaries:
    """Secrets, and the ways to find them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._forms = sorted({form for secret in secrets for form in forms(secret)})
        self._pattern = re.compile("|".join(map(re.escape, self._forms)).encode())

    def are_in(self, text: str | bytes) -> bool:
        """Whether one of them is in it, in any form."""
        return bool(self._pattern.search(text if isinstance(text, bytes) else text.encode()))

    async def files(self, machine: Machine, *, of_nobody: bool = False) -> list[str]:
        """The files of a machine that hold one; with `of_nobody`, those that a user without any rights can read."""
        command = SEARCH.format(as_whom=NOBODY if of_nobody else "")
        return (await machine.run(command, text="\n".join(self._forms))).splitlines()

    async def output(self, machine: Machine, command: str) -> bool:
        """Whether a command on a machine tells one; it must tell something."""
        told = await machine.run(command)
        assert told, f"{machine.name}: {command!r} told nothing"
        return self.are_in(told)

    async def image(self, image: str) -> bool:
        """Whether an image of this engine holds one, in its layers or its settings."""
        command = f"docker save {image} | grep --text --count --fixed-strings --file /dev/fd/3 3<<<$FORMS"
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command), env={"FORMS": "\n".join(self._forms), "PATH": "/usr/bin:/bin"}, stdout=-1
        )
        told, _ = await process.communicate()
        return int(told) > 0


HERMES_CHILD = b"\0HERMES_HOME="


class Processes:
    """The command lines and environments of everything that runs on this kernel, sampled while the context lasts.

    Machines are containers, so what runs on them is seen here too.
    """

    def __init__(self, canaries: Canaries) -> None:
        self.with_a_secret: set[str] = set()
        """The programs, and whether it was an argument (`cmdline`) or the environment (`environ`)."""
        self.samples = 0
        self.programs: set[str] = set()
        self._canaries = canaries
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _sample(self) -> None:
        looks: dict[Path, int] = {}
        while not self._is_over.wait(SAMPLE_SECONDS):
            self.samples += 1
            looks = {process: looks.get(process, 0) + 1 for process in Path("/proc").glob("[0-9]*")}
            for process, times in looks.items():
                if times <= LOOKS:
                    self._look_at(process)

    def _look_at(self, process: Path) -> None:
        try:
            told = {name: (process / name).read_bytes() for name in ("cmdline", "environ")}
        except OSError:  # it has ended
            return
        # A gateway takes its .env into its environment, and what it starts has it too (hermes-agent 0.19.0): nobody but
        # its own user, whose file that is, and root can read either.
        if HERMES_CHILD in told["environ"]:
            del told["environ"]
        program = told["cmdline"].split(b"\0")[0].decode("utf-8", "replace")
        self.programs.add(program)
        self.with_a_secret |= {f"{program} {name}" for name in told if self._canaries.are_in(told[name])}


def forms(secret: str) -> Iterator[str]:
    """The secret itself, and what of its Base64 is the same whatever stands before and after it."""
    yield secret
    for before in range(3):
        told = base64.b64encode(b"-" * before + secret.encode()).decode().rstrip("=")
        of_it_alone = told[(0, 2, 3)[before] : len(told) - bool((before + len(secret)) % 3)]
        yield of_it_alone
        yield of_it_alone.replace("+", "-").replace("/", "_")


def of_vault(found: Mapping[str, Any]) -> Iterator[str]:
    """Every secret of a vault."""
    for value in found.values():
        if isinstance(value, Mapping):
            yield from of_vault(value)
        else:
            yield str(value)
