"""One proxy hop, non-streaming: every system alone on one core, load and upstream on the other, rounds interleaved.

Interleaved means: round 1 of every system, then round 2 of every system, so that a machine that grows slower for a
while is slower for all of them. All systems run from the first round to the last; only one is asked at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench import load, subjects, systems
from bench.one_hop_report import MANY, ONE, ROOF, Measured, OneHop, Round
from bench.programs import program
from bench.subjects import Subject


@dataclass(frozen=True)
class Plan:
    """How long to look: whole seconds, as wrk counts them."""

    warm_seconds: int
    many_seconds: int
    alone_seconds: int


FULL = Plan(warm_seconds=3, many_seconds=4, alone_seconds=2)
QUICK = Plan(warm_seconds=1, many_seconds=1, alone_seconds=1)


@dataclass
class _Asked:
    subject: Subject
    target: load.Target
    rounds: list[Round] = field(default_factory=list)


def measure(*, quick: bool, rounds: int) -> OneHop:
    """Run the whole comparison; what the distribution does not have is skipped. Raises CannotMeasure."""
    plan = QUICK if quick else FULL
    with subjects.stage() as stage, ExitStack() as stack:
        wrk = program("wrk")
        upstream = stage.start(ROOF, systems.upstream, stack, core=stage.load_core, upstream_port=0)
        asked = [_Asked(upstream, load.examine(upstream.port, upstream.authorization))]
        skipped: list[tuple[str, str]] = []
        for name, system in systems.ALL.items():
            with stage.skipping(name, skipped):
                subject = stage.start(name, system, stack, core=stage.system_core, upstream_port=upstream.port)
                asked.append(_Asked(subject, load.examine(subject.port, subject.authorization)))
        for one in asked:
            load.run(wrk, one.target, connections=MANY, seconds=plan.warm_seconds, core=stage.load_core)
        for one, connections, seconds in _schedule(plan, rounds, asked):
            one.rounds.append(load.run(wrk, one.target, connections=connections, seconds=seconds, core=stage.load_core))
        measured = [_measured(one) for one in asked]
        return OneHop((measured[0], *(Measured(name, skipped=reason) for name, reason in skipped), *measured[1:]))


def _schedule(plan: Plan, rounds: int, asked: Sequence[_Asked]) -> Iterator[tuple[_Asked, int, int]]:
    """System, connections and seconds of every round, in order."""
    for _ in range(rounds):
        for one in asked:
            yield one, MANY, plan.many_seconds
            yield one, ONE, plan.alone_seconds


def _measured(one: _Asked) -> Measured:
    subject = one.subject
    return Measured(subject.name, subject.version, tuple(one.rounds), subject.running.resident_bytes() / 1e6)
