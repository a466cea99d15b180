"""`make demo`: start a fleet, ask it one question, keep it until Ctrl-C, leave nothing behind."""

import asyncio
import os
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from fleet.fleet import MACHINES, START_SECONDS, Fleet
from fleet.process import PROGRAMS, Ended

QUESTION = "!!delay=0.1 which machine are you?"
"""The mock agents wait so long before each piece of their answer, so that it is seen streaming."""
WATCH_SECONDS = 1.0
_TERMINAL = ("PATH", "TERM", "COLORTERM", "LANG", "NO_COLOR")


async def demo() -> int:
    """Returns the exit status of the question, or 1 when a program of the fleet ended."""
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    with tempfile.TemporaryDirectory(prefix="switchboard-demo-") as folder:
        showing = asyncio.create_task(_show(Path(folder)))
        ending = asyncio.create_task(told_to_end.wait())
        await asyncio.wait({showing, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        showing.cancel()
        try:
            return await showing
        except asyncio.CancelledError:
            print("\nThe fleet has ended.")
            return 0
        except Ended as problem:
            print(f"The fleet broke: {problem}", file=sys.stderr)
        except TimeoutError:
            print(f"The fleet was not ready after {START_SECONDS:g} s.", file=sys.stderr)
        return 1


async def _show(folder: Path) -> int:
    names = ", ".join(machine.name for machine in MACHINES)
    print(f"Starting {len(MACHINES)} machines ({names}) and a coordinator …", flush=True)
    async with Fleet(folder) as fleet:
        print(f'\n$ switchboard ask "{QUESTION}" --to all@fleet\n', flush=True)
        env = {"SWITCHBOARD_URL": fleet.url, "SWITCHBOARD_KEY_FILE": str(fleet.key_file)}
        asked = await asyncio.create_subprocess_exec(
            PROGRAMS / "switchboard",
            *("ask", QUESTION, "--to", "all@fleet"),
            env={**{name: os.environ[name] for name in _TERMINAL if name in os.environ}, **env},
        )
        status = await asked.wait()
        if status:
            return status
        print("\nThe fleet runs until Ctrl-C. In another shell, in this folder:\n")
        print(*(f"  export {name}={value}" for name, value in env.items()), sep="\n")
        print(f"  {_shown(PROGRAMS / 'switchboard')} peers")
        print(f'  curl -H "Authorization: Bearer $(cat {fleet.key_file})" {fleet.url}/v1/models', flush=True)
        while True:
            fleet.check()
            await asyncio.sleep(WATCH_SECONDS)


def _shown(path: Path) -> Path:
    with suppress(ValueError):
        return path.relative_to(Path.cwd())
    return path


if __name__ == "__main__":
    sys.exit(asyncio.run(demo()))
