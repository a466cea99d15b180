"""`make faults`: runs schedules of faults one after the other, many at once, and tells which came out wrong."""

import argparse
import asyncio
import logging
import random
import sys
import time

import structlog

from .running import Tally, run_all

AT_A_TIME = 500
"""So many share one coordinator and its machines."""
ENOUGH = 20
"""Wrong schedules after which no further one is begun."""


def run(schedules: int, seed: int) -> int:
    """Returns 1 where a schedule came out wrong."""
    print(f"seeds {seed} to {seed + schedules - 1}", flush=True)
    tally, began = Tally(), time.monotonic()
    for first in range(seed, seed + schedules, AT_A_TIME):
        tally.add(asyncio.run(run_all(range(first, min(first + AT_A_TIME, seed + schedules)), enough=ENOUGH)))
        print(f"{time.monotonic() - began:.0f} s: {tally}", flush=True)
        if len(tally.found) >= ENOUGH:
            break
    print(tally.told(), end="\n" if tally.found else "")
    return bool(tally.found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("schedules", type=int)
    parser.add_argument("seed", type=int, nargs="?", default=random.randrange(2**32))  # noqa: S311 - no secret
    arguments = parser.parse_args()
    # Requests and agents that break off are what is wanted here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("aiohttp").setLevel(logging.CRITICAL)
    sys.exit(run(arguments.schedules, arguments.seed))
