"""Systems under load in rounds: each alone on one core, load and upstream on the other, rounds interleaved.

Interleaved means: round 1 of every system, then round 2 of every system, so that a machine that grows slower for a
while is slower for all of them. All systems run from the first round to the last; only one is asked at a time.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from bench import load, machine, subjects, systems
from bench.programs import program
from bench.rounds import MANY, ONE, ROOF, Measured, Round, disturbed
from bench.subjects import Stage, Subject
from bench.systems import System


@dataclass(frozen=True)
class Plan:
    """How long to look: whole seconds, as wrk counts them."""

    warm_seconds: int
    many_seconds: int
    alone_seconds: int


@dataclass
class _Asked:
    subject: Subject
    target: load.Target
    rounds: list[Round] = field(default_factory=list)


def measured(all_systems: Mapping[str, System], plan: Plan, rounds: int) -> tuple[Measured, ...]:
    """The upstream itself and every system; a system of others that cannot be had is skipped. Raises CannotMeasure."""
    with subjects.stage() as stage, ExitStack() as stack:
        wrk = program("wrk")
        upstream = stage.start(ROOF, systems.upstream, stack, core=stage.load_core, upstream_port=0)
        asked = [_Asked(upstream, load.examine(upstream.door))]
        skipped: list[tuple[str, str]] = []
        for name, system in all_systems.items():
            with stage.skipping(name, skipped):
                subject = stage.start(name, system, stack, core=stage.system_core, upstream_port=upstream.port)
                asked.append(_Asked(subject, load.examine(subject.door)))
        for one in asked:
            load.run(wrk, one.target, connections=MANY, seconds=plan.warm_seconds, core=stage.load_core)
        for one, connections, seconds in _schedule(plan, rounds, asked):
            one.rounds.append(_round(wrk, one, connections, seconds, stage))
        seen = [_seen(one) for one in asked]
        return seen[0], *(Measured(name, skipped=reason) for name, reason in skipped), *seen[1:]


def _schedule(plan: Plan, rounds: int, asked: Sequence[_Asked]) -> Iterator[tuple[_Asked, int, int]]:
    """System, connections and seconds of every round, in order."""
    for _ in range(rounds):
        for one in asked:
            yield one, MANY, plan.many_seconds
            yield one, ONE, plan.alone_seconds


def _round(wrk: str, one: _Asked, connections: int, seconds: int, stage: Stage) -> Round:
    running = one.subject.running
    began, busy, before = time.monotonic(), machine.busy_seconds(stage.system_core), running.cpu_seconds()
    seen = load.run(wrk, one.target, connections=connections, seconds=seconds, core=stage.load_core)
    own, all_together = running.cpu_seconds() - before, machine.busy_seconds(stage.system_core) - busy
    requests = seen.requests_per_second * seconds
    seen = replace(seen, cpu_us=own / requests * 1e6 if requests else None)
    if one.subject.name == ROOF:  # it shares the other core with the load
        return seen
    return disturbed(seen, (all_together - own) / (time.monotonic() - began))


def _seen(one: _Asked) -> Measured:
    subject = one.subject
    return Measured(subject.name, subject.version, tuple(one.rounds), subject.running.resident_bytes() / 1e6)
