"""Streams through our coordinator, alone and with our proxy behind it, and what a stream costs it in memory."""

import time
from contextlib import ExitStack
from dataclasses import replace

from bench import flowing, gateways, load, subjects, systems
from bench.flowing import Asked, Plan, on_core
from bench.flows import OURS
from bench.generator import Generator
from bench.lane_streaming_report import LATE_MS, WITH_PROXY, LaneStreaming
from bench.subjects import Stage

FULL = Plan(
    warm_streams=32,
    warm_seconds=1,
    streams=500,
    rate=20,
    seconds=20,
    climb_rate=20,
    climb_seconds=5,
    first=125,
    last=4000,
    fineness=8,
    late_ms=LATE_MS,
    grace_seconds=5,
)
QUICK = replace(
    FULL,
    warm_seconds=0.5,
    streams=125,
    seconds=1,
    climb_seconds=0.5,
    first=1000,
    last=1000,
    fineness=1,
    grace_seconds=1,
)
WEIGHED_STREAMS, QUICK_WEIGHED_STREAMS = 1000, 250
IDLE_SECONDS = 1.0


def measure(*, quick: bool, rounds: int) -> LaneStreaming:
    """Run the whole comparison. Raises CannotMeasure."""
    plan = QUICK if quick else FULL
    with subjects.stage() as stage, on_core(stage.load_core), Generator(plan.grace_seconds) as generator:
        weighed = QUICK_WEIGHED_STREAMS if quick else WEIGHED_STREAMS
        idle, streaming = _weights(stage, generator, weighed)
        with ExitStack() as stack:
            core = stage.system_core
            alone = stage.start(OURS, gateways.switchboard, stack, core=core, upstream_port=generator.port)
            proxy = stage.start("proxy", systems.switchboard, stack, core=core, upstream_port=generator.port)
            front = stage.start(WITH_PROXY, gateways.switchboard, stack, core=core, upstream_port=proxy.port)
            asked = [
                Asked.direct(generator),
                Asked.of(generator, plan, alone),
                Asked.of(generator, plan, front, proxy),
            ]
            seen = flowing.measured(generator, plan, asked, rounds)
    return LaneStreaming(tuple(seen), weighed, idle, streaming)


def _weights(stage: Stage, generator: Generator, count: int) -> tuple[int, int]:
    """Resident bytes of a coordinator that has been asked once, and with all streams open."""
    with ExitStack() as stack:
        subject = stage.start(OURS, gateways.switchboard, stack, core=stage.system_core, upstream_port=generator.port)
        load.refuses(subject.door)
        time.sleep(IDLE_SECONDS)
        idle = subject.running.resident_bytes()
        with generator.opened(subject.door, count) as streams:
            streams.pour(rate=2, seconds=2)
            streams.wait()
            streaming = subject.running.resident_bytes()
            if failure := streams.finish().failure:
                raise load.WrongWork(failure)
        return idle, streaming
