"""The steady load as a program of its own, which runs in the network of a machine: its pace is nobody else's."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from .judge import Record
from .load import PATIENCE_SECONDS, Load

RECORDS = TypeAdapter(list[Record])
TESTS = Path(__file__).parents[1]
END_SECONDS = 30.0


class LoadEnded(Exception):
    """The program ended otherwise than it should; the words hold what it said."""


@dataclass
class Loading:
    """A load that goes on. `records` are there when its block was left."""

    records: list[Record] = field(default_factory=list)


@asynccontextmanager
async def loading(
    url: str, key: str, *, pid: int, to: Sequence[str], per_second: float, directives: str = ""
) -> AsyncIterator[Loading]:
    """A load from the network of process `pid`, while the block lasts; then every turn comes to its end.

    Raises LoadEnded where it does not.
    """
    env = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(TESTS)}
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, "-m", "ansible.loading"),
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdin is not None
    told = {"url": url, "key": key, "to": [*to], "per_second": per_second, "directives": directives}
    process.stdin.write(json.dumps(told).encode() + b"\n")
    load = Loading()
    try:
        yield load
        async with asyncio.timeout(PATIENCE_SECONDS + END_SECONDS):
            output, _ = await process.communicate(b"")  # the end of its input is its sign to end
        if process.returncode:
            raise LoadEnded(f"status {process.returncode}: {output.decode(errors='replace')[-2000:]}")
        load.records += RECORDS.validate_json(output)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def main() -> None:
    """One line says what to ask whom; the load goes on until standard input ends, and its records are the output."""
    told: dict[str, Any] = json.loads(await asyncio.to_thread(sys.stdin.readline))
    async with Load(told.pop("url"), told.pop("key"), **told) as load:
        await asyncio.to_thread(sys.stdin.read)
    sys.stdout.buffer.write(RECORDS.dump_json(load.records))


if __name__ == "__main__":
    asyncio.run(main())
