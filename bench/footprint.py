"""What our proxy weighs: start, idle, with open streams, after many requests; and its image over the base.

Each state is taken from a process of its own, pinned as in the other parts.
"""

import http.client
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass

import docker
from docker.errors import DockerException, ImageNotFound

from bench import load, subjects, systems
from bench.flowing import on_core
from bench.footprint_report import Footprint, Weight
from bench.generator import Generator
from bench.programs import program
from bench.rounds import MANY, OURS, ROOF
from bench.running import NotRunning
from bench.subjects import Stage, Subject

IMAGE = "switchboard-proxy:dev"
BASE_LABEL = "org.opencontainers.image.base.name"
IDLE_SECONDS = 1.0


@dataclass(frozen=True)
class Plan:
    """How many streams to open, after how many requests to weigh."""

    streams: int
    early: int
    late: int


FULL = Plan(streams=2000, early=20_000, late=200_000)
QUICK = Plan(streams=500, early=5_000, late=20_000)


def measure(*, quick: bool, rounds: int) -> Footprint:
    """Weigh our proxy in every state. Raises CannotMeasure."""
    plan = QUICK if quick else FULL
    with subjects.stage() as stage:
        ready = tuple(_ready_seconds(stage) for _ in range(rounds))
        version, idle, streaming = _streaming_bytes(stage, plan)
        early, late = _weights(stage, plan)
    image, image_bytes, skipped = _image()
    return Footprint(version, ready, idle, plan.streams, streaming, early, late, image, image_bytes, skipped)


def _ours(stage: Stage, stack: ExitStack, upstream_port: int) -> Subject:
    return stage.start(OURS, systems.switchboard, stack, core=stage.system_core, upstream_port=upstream_port)


def _ready_seconds(stage: Stage) -> float:
    """From the start of the process to the first 200 of /-/ready."""
    with ExitStack() as stack:
        subject = _ours(stage, stack, upstream_port=9)
        connection = http.client.HTTPConnection("127.0.0.1", subject.port, timeout=10)
        connection.request("GET", "/-/ready", headers={"Authorization": subject.door.authorization})
        status = connection.getresponse().status
        seconds = time.monotonic() - subject.running.started_at
        connection.close()
        if status != 200:  # the standard's OK
            raise NotRunning(f"/-/ready answers {status}")
        return seconds


def _streaming_bytes(stage: Stage, plan: Plan) -> tuple[str, int, int]:
    """Version, resident bytes idle, and with all streams open."""
    with ExitStack() as stack, on_core(stage.load_core), Generator(grace_seconds=10) as generator:
        subject = _ours(stage, stack, generator.port)
        time.sleep(IDLE_SECONDS)
        idle = subject.running.resident_bytes()
        with generator.opened(subject.door, plan.streams) as streams:
            streams.pour(rate=1, seconds=4)
            streams.wait()
            streaming = subject.running.resident_bytes()
            if failure := streams.finish().failure:
                raise load.WrongWork(failure)
        return subject.version, idle, streaming


def _weights(stage: Stage, plan: Plan) -> tuple[Weight, Weight]:
    """After some requests and after many."""
    with ExitStack() as stack:
        wrk = program("wrk")
        upstream = stage.start(ROOF, systems.upstream, stack, core=stage.load_core, upstream_port=0)
        subject = _ours(stage, stack, upstream.port)
        target = load.examine(subject.door)
        done, weights = 0, []
        for wanted in (plan.early, plan.late):
            while done < wanted:
                seen = load.run(wrk, target, connections=MANY, seconds=1, core=stage.load_core)
                if seen.failure:
                    raise load.WrongWork(seen.failure)
                done += round(seen.requests_per_second)
            subject.running.settle()
            weights.append(Weight(done, subject.running.resident_bytes()))
        return weights[0], weights[1]


def _image() -> tuple[str, int | None, str]:
    """What was weighed, its bytes over the base, and why not where it was not."""
    with suppress(DockerException), closing(docker.from_env()) as engine:
        try:
            image = engine.images.get(IMAGE)
            base = engine.images.get(image.labels.get(BASE_LABEL, ""))
        except ImageNotFound as problem:
            return "", None, f"{problem.explanation}: make images"
        layers, below = image.attrs["RootFS"]["Layers"], base.attrs["RootFS"]["Layers"]
        if layers[: len(below)] != below:
            return "", None, f"{IMAGE} stands on another {base.tags[0]} than the one here: make images"
        return f"{IMAGE} over {base.tags[0]}", image.attrs["Size"] - base.attrs["Size"], ""
    return "", None, "no container engine answers"
