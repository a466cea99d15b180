"""Systems carrying streams: each alone on one core, source and reader on the other, rounds interleaved.

First a fixed number of streams, for lateness; then a search for the largest number that a system holds, with the same
steps for all. `direct` is the load without a system: what it adds by itself, and the roof of what can be asked.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from bench import load
from bench.flows import DIRECT, Climb, Flow, Measured
from bench.generator import Generator
from bench.running import Running
from bench.search import Search
from bench.subjects import Subject


@dataclass(frozen=True)
class Plan:
    """How many streams, how fast, for how long, and between which numbers to search."""

    warm_streams: int
    warm_seconds: float
    streams: int
    rate: int
    seconds: float
    climb_rate: int
    climb_seconds: float
    first: int
    last: int
    fineness: int
    late_ms: float
    """A number of streams holds while the p99 of lateness is below this."""
    grace_seconds: float


@dataclass
class Asked:
    """One way from the source to the reader, and what was seen of it."""

    name: str
    version: str
    door: load.Door
    running: Sequence[Running]
    flows: list[Flow] = field(default_factory=list)
    climbs: list[Climb] = field(default_factory=list)

    @classmethod
    def direct(cls, generator: Generator) -> "Asked":
        """The way without a system."""
        return cls(DIRECT, "", load.Door(generator.port, load.BEARER_HEADER), ())

    @classmethod
    def of(cls, generator: Generator, plan: Plan, subject: Subject, *behind: Subject) -> "Asked":
        """A system that is held to its work, and warm; what stands `behind` it settles with it. Raises WrongWork."""
        load.refuses(subject.door)
        seen = generator.flow(subject.door, streams=plan.warm_streams, rate=plan.rate, seconds=plan.warm_seconds)
        if seen.failure:
            raise load.WrongWork(seen.failure)
        return cls(subject.name, subject.version, subject.door, [one.running for one in (subject, *behind)])

    def cpu_seconds(self) -> float:
        """Processor time that its systems have taken."""
        return sum(running.cpu_seconds() for running in self.running)


def measured(generator: Generator, plan: Plan, asked: Sequence[Asked], rounds: int) -> list[Measured]:
    """All flows and climbs of every way."""
    for _ in range(rounds):
        for one in asked:
            one.flows.append(_flow(generator, one, plan.streams, plan.rate, plan.seconds))
    for _ in range(rounds):
        _climb(generator, plan, asked)
    return [Measured(one.name, one.version, tuple(one.flows), tuple(one.climbs)) for one in asked]


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run this process on one core for as long as the block."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _climb(generator: Generator, plan: Plan, asked: Sequence[Asked]) -> None:
    """One search for every way, a step of each in turn."""
    searches = [(one, Search(plan.first, plan.last, plan.fineness), list[Flow]()) for one in asked]
    under_way = searches
    while under_way:
        for one, search, tries in under_way:
            if streams := search.next_try():
                seen = _flow(generator, one, streams, plan.climb_rate, plan.climb_seconds)
                search.tell(streams, held=seen.holds(plan.late_ms))
                tries.append(seen)
        under_way = [(one, search, tries) for one, search, tries in under_way if search.next_try()]
    for one, search, tries in searches:
        one.climbs.append(Climb(search.most, tuple(tries)))


def _flow(generator: Generator, one: Asked, streams: int, rate: int, seconds: float) -> Flow:
    before = one.cpu_seconds()
    seen = generator.flow(one.door, streams=streams, rate=rate, seconds=seconds)
    for running in one.running:
        running.settle()
    if not (one.running and seen.frames):
        return seen
    return replace(seen, cpu_us=(one.cpu_seconds() - before) / seen.frames * 1e6)
