"""Streams through one hop: every system alone on one core, source and reader on the other, rounds interleaved.

First a fixed number of streams, for lateness; then a search for the largest number that a system holds, with the same
steps for all. `direct` is the load without a system: what it adds by itself, and the roof of what can be asked.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from bench import load, subjects, systems
from bench.generator import Generator
from bench.running import Running
from bench.search import Search
from bench.streaming_report import DIRECT, Climb, Flow, Measured, Streaming


@dataclass(frozen=True)
class Plan:
    """How many streams, how fast, for how long, and between which numbers to search."""

    warm_streams: int
    streams: int
    rate: int
    seconds: float
    climb_rate: int
    climb_seconds: float
    first: int
    last: int
    fineness: int
    grace_seconds: float


FULL = Plan(
    warm_streams=32,
    streams=256,
    rate=50,
    seconds=20,
    climb_rate=20,
    climb_seconds=2,
    first=128,
    last=4096,
    fineness=8,
    grace_seconds=5,
)
QUICK = replace(FULL, seconds=1.5, climb_seconds=0.5, first=512, last=2048, fineness=1, grace_seconds=1)


@dataclass
class _Asked:
    name: str
    version: str
    port: int
    authorization: str
    running: Running | None
    flows: list[Flow] = field(default_factory=list)
    climbs: list[Climb] = field(default_factory=list)


def measure(*, quick: bool, rounds: int) -> Streaming:
    """Run the whole comparison; what the distribution does not have is skipped. Raises CannotMeasure."""
    plan = QUICK if quick else FULL
    with subjects.stage() as stage, ExitStack() as stack:
        stack.enter_context(on_core(stage.load_core))
        generator = stack.enter_context(Generator(plan.grace_seconds))
        asked = [_Asked(DIRECT, "", generator.port, load.BEARER_HEADER, None)]
        skipped: list[tuple[str, str]] = []
        for name, system in systems.ALL.items():
            with stage.skipping(name, skipped):
                subject = stage.start(name, system, stack, core=stage.system_core, upstream_port=generator.port)
                _examine(generator, plan, subject.port, subject.authorization)
                asked.append(_Asked(name, subject.version, subject.port, subject.authorization, subject.running))
        for _ in range(rounds):
            for one in asked:
                one.flows.append(_flow(generator, one, plan.streams, plan.rate, plan.seconds))
        for _ in range(rounds):
            _climb(generator, plan, asked)
        measured = [Measured(one.name, one.version, tuple(one.flows), tuple(one.climbs)) for one in asked]
        return Streaming((measured[0], *(Measured(name, skipped=reason) for name, reason in skipped), *measured[1:]))


def _examine(generator: Generator, plan: Plan, port: int, authorization: str) -> None:
    """Hold one system to its work, and warm it up. Raises WrongWork."""
    load.refuses(port, authorization)
    seen = generator.flow(port, authorization, streams=plan.warm_streams, rate=plan.rate, seconds=1)
    if seen.failure:
        raise load.WrongWork(seen.failure)


def _climb(generator: Generator, plan: Plan, asked: list[_Asked]) -> None:
    """One search for every system, a step of each in turn."""
    searches = [(one, Search(plan.first, plan.last, plan.fineness), list[Flow]()) for one in asked]
    under_way = searches
    while under_way:
        for one, search, tries in under_way:
            if streams := search.next_try():
                seen = _flow(generator, one, streams, plan.climb_rate, plan.climb_seconds)
                search.tell(streams, held=seen.holds())
                tries.append(seen)
        under_way = [(one, search, tries) for one, search, tries in under_way if search.next_try()]
    for one, search, tries in searches:
        one.climbs.append(Climb(search.most, tuple(tries)))


def _flow(generator: Generator, one: _Asked, streams: int, rate: int, seconds: float) -> Flow:
    seen = generator.flow(one.port, one.authorization, streams=streams, rate=rate, seconds=seconds)
    if one.running:
        one.running.settle()
    return seen


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this process on one core for as long as the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
