"""What an operator types on the machine of a coordinator, and what it says."""

import shlex

from waiting import until

from .deployed import Deployed

EXEC = "docker exec --interactive switchboard-coordinator-coordinator-1 switchboard"
ANSWER_SECONDS = 300.0


class Terminal:
    """The command `switchboard` on one machine, with the operator's key where one is needed."""

    def __init__(self, fleet: Deployed, machine: str) -> None:
        self._fleet = fleet
        self._machine = fleet.site[machine]

    async def doctor(self, *arguments: str) -> tuple[int, str]:
        """Exit status and words of `switchboard doctor`."""
        status, words = await self._machine.tried(f"{EXEC} doctor {shlex.join(arguments)}")
        return status, _unfolded(words)

    async def asked(self, command: str, *arguments: str, key: str | None = None) -> tuple[int, str]:
        """Exit status and words of a command that speaks with the coordinator."""
        key = key or (await self._fleet.secrets())["vault_consumer_key"]
        told = shlex.join((command, *arguments))
        status, words = await self._machine.tried(f"{EXEC} {told} --key-file -", text=key)
        return status, _unfolded(words)

    async def proves(self) -> bool:
        """Whether every address of every peer answers a turn, and all together one."""
        status, _ = await self.asked("prove")
        return status == 0

    async def comes_back(self, seconds: float = ANSWER_SECONDS) -> None:
        """Wait until it is so; else an AssertionError says what is not."""
        try:
            await until(self.proves, seconds=seconds)
        except TimeoutError:
            status, words = await self.asked("prove")
            assert not status, f"the fleet is not back after {seconds:g} s:\n{words}"


def _unfolded(words: str) -> str:
    """In one line, for a narrow terminal folds sentences where it likes."""
    return " ".join(words.split())
