"""Streams through one hop: our proxy beside those people pick."""

from contextlib import ExitStack
from dataclasses import replace

from bench import flowing, subjects, systems
from bench.flowing import Asked, Plan, on_core
from bench.flows import Measured
from bench.generator import Generator
from bench.streaming_report import LATE_MS, Streaming

FULL = Plan(
    warm_streams=32,
    warm_seconds=1,
    streams=256,
    rate=50,
    seconds=20,
    climb_rate=20,
    climb_seconds=2,
    first=128,
    last=4096,
    fineness=8,
    late_ms=LATE_MS,
    grace_seconds=5,
)
QUICK = replace(
    FULL, warm_seconds=0.5, seconds=1, climb_seconds=0.5, first=1024, last=1024, fineness=1, grace_seconds=1
)


def measure(*, quick: bool, rounds: int) -> Streaming:
    """Run the whole comparison; what the distribution does not have is skipped. Raises CannotMeasure."""
    plan = QUICK if quick else FULL
    with subjects.stage() as stage, ExitStack() as stack:
        stack.enter_context(on_core(stage.load_core))
        generator = stack.enter_context(Generator(plan.grace_seconds))
        asked = [Asked.direct(generator)]
        skipped: list[tuple[str, str]] = []
        for name, system in systems.ALL.items():
            with stage.skipping(name, skipped):
                subject = stage.start(name, system, stack, core=stage.system_core, upstream_port=generator.port)
                asked.append(Asked.of(generator, plan, subject))
        direct, *seen = flowing.measured(generator, plan, asked, rounds)
        return Streaming((direct, *(Measured(name, skipped=reason) for name, reason in skipped), *seen))
