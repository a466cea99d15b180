"""One proxy hop, non-streaming: every system alone on one core, load and upstream on the other, rounds interleaved.

Interleaved means: round 1 of every system, then round 2 of every system, so that a machine that grows slower for a
while is slower for all of them. All systems run from the first round to the last; only one is asked at a time.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import load, machine, systems
from bench.programs import Missing, program
from bench.report import MANY, ONE, Mark, Measured, Round
from bench.running import NotRunning, Running, free_port

MARKS = (Mark("switchboard", 10, "yardstick"), Mark("switchboard", 0.6, "Caddy"))


@dataclass(frozen=True)
class Plan:
    """How long to look: whole seconds, as wrk counts them."""

    rounds: int
    warm_seconds: int
    many_seconds: int
    alone_seconds: int


FULL = Plan(rounds=5, warm_seconds=3, many_seconds=5, alone_seconds=2)
QUICK = Plan(rounds=3, warm_seconds=1, many_seconds=1, alone_seconds=1)


STOPPED = (Missing, NotRunning, load.WrongWork)


class CannotMeasure(Exception):
    """There is nothing to compare: no load generator, no second core, or our own side does not run."""


@dataclass
class _Subject:
    name: str
    version: str
    running: Running
    target: load.Target
    rounds: list[Round] = field(default_factory=list)


def measure(plan: Plan) -> list[Measured]:
    """Run the whole comparison; what the distribution does not have is skipped. Raises CannotMeasure."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="switchboard-bench-")))
        skipped: list[Measured] = []
        try:
            system_core, load_core = machine.two_cores()
            wrk = program("wrk")
            upstream = _start("upstream", systems.upstream, stack, folder, core=load_core, upstream_port=0)
            port = upstream.running.port
            subjects = [upstream]
            for name, system in systems.DISTRIBUTED.items():
                try:
                    subjects.append(_start(name, system, stack, folder, core=system_core, upstream_port=port))
                except STOPPED as problem:
                    skipped.append(Measured(name, skipped=str(problem)))
            for name, system in systems.OWN.items():
                subjects.append(_start(name, system, stack, folder, core=system_core, upstream_port=port))
        except (ValueError, *STOPPED) as problem:
            raise CannotMeasure(str(problem)) from problem

        for subject in subjects:
            load.run(wrk, subject.target, connections=MANY, seconds=plan.warm_seconds, core=load_core)
        for subject, connections, seconds in _schedule(plan, subjects):
            seen = load.run(wrk, subject.target, connections=connections, seconds=seconds, core=load_core)
            subject.rounds.append(seen)
        measured = [Measured(s.name, s.version, tuple(s.rounds), s.running.memory_mb()) for s in subjects]
        return [measured[0], *skipped, *measured[1:]]


def _schedule(plan: Plan, subjects: Sequence[_Subject]) -> Iterator[tuple[_Subject, int, int]]:
    """Subject, connections and seconds of every round, in order."""
    for _ in range(plan.rounds):
        for subject in subjects:
            yield subject, MANY, plan.many_seconds
            yield subject, ONE, plan.alone_seconds


def _start(
    name: str, system: systems.System, stack: ExitStack, folder: Path, *, core: int, upstream_port: int
) -> _Subject:
    place = systems.Place(free_port(), upstream_port, folder / name)
    place.folder.mkdir()
    launch = system(place)
    log = place.folder / "output.log"
    running = stack.enter_context(Running(launch.command, core=core, port=place.port, log=log, env=launch.env))
    return _Subject(name, launch.version, running, load.examine(place.port, launch.authorization))
