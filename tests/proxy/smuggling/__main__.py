"""`make fuzz`: sends mutated cases through the proxy until one comes out otherwise than it may, or all are sent."""

import argparse
import asyncio
import random
import sys
import time

from .fuzz import fuzz, has_enough_of_both
from .stage import proxy_process


async def run(cases: int, seed: int, first: int) -> int:
    """Returns 1 where something was found, or where too few cases passed or were refused."""
    print(f"seed {seed}, cases {first} to {first + cases - 1}", flush=True)
    began = time.monotonic()
    async with proxy_process() as experiment:
        found = await fuzz(experiment, seed, range(first, first + cases), say=_say)
        print(f"{experiment.shares} in {time.monotonic() - began:.0f} s")
        for finding in found:
            print(f"\nFOUND: {finding}")
        if found:
            print(f"\nOnce more: make fuzz N=1 SEED={seed} FIRST=<number>")
        elif not has_enough_of_both(experiment):
            print("Too few of one kind: this run shows little.")
            return 1
        return bool(found)


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="smuggling", description=__doc__)
    parser.add_argument("cases", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=random.randrange(2**32))  # noqa: S311 - no secret
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    arguments = parser.parse_args()
    sys.exit(asyncio.run(run(arguments.cases, arguments.seed, arguments.first)))
