"""One turn to many peers through our coordinator: what a lane costs, and what the turn adds to what the peers do.

The coordinator is alone on one core, its journal on; all peers and the client share the other.
"""

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

from bench import gateways, load, subjects
from bench.fan_out_report import LANES, RACERS, FanOut, Size
from bench.flowing import on_core
from bench.mock_peers import MockPeers, Script, Told
from bench.rounds import OURS
from bench.subjects import Subject

TURN_SECONDS = 10.0
AT_ONCE = Script()
TALKING = Script(texts=20, gap_seconds=0.01)


@dataclass(frozen=True)
class Plan:
    """How many lanes to ask in all turns of one size together, and how many turns of each other kind."""

    lanes: int
    turns: int


FULL = Plan(lanes=2560, turns=40)
QUICK = Plan(lanes=512, turns=5)


def measure(*, quick: bool, rounds: int) -> FanOut:
    """Ask and ask. Raises CannotMeasure."""
    plan = QUICK if quick else FULL
    sizes: list[Size] = []
    first_ms: list[float] = []
    end_ms: list[float] = []
    with subjects.stage() as stage, on_core(stage.load_core), MockPeers(max(LANES)) as peers, ExitStack() as stack:
        names = list(peers.places)
        groups = {_group(lanes): names[:lanes] for lanes in (*LANES, RACERS)}
        system = partial(gateways.of_peers, peers.places, groups)
        subject = stage.start(OURS, system, stack, core=stage.system_core, upstream_port=0)
        _until_every_lane_answers(peers, subject)
        for _ in range(rounds):
            sizes += [_size(peers, subject, lanes, plan) for lanes in LANES]
            first_ms += [_first(peers, subject, turn) for turn in range(plan.turns)]
            end_ms += [_end(peers, subject) for _ in range(plan.turns)]
    return FanOut(subject.version, tuple(sizes), tuple(first_ms), tuple(end_ms))


def _group(lanes: int) -> str:
    return f"lanes-{lanes}"


def _door(subject: Subject, mode: str, lanes: int) -> load.Door:
    return replace(subject.door, model=f"{mode}@{_group(lanes)}")


def _until_every_lane_answers(peers: MockPeers, subject: Subject) -> None:
    """The coordinator has to find its peers first."""
    load.refuses(subject.door)
    deadline = time.monotonic() + TURN_SECONDS
    while True:
        told = peers.turn(_door(subject, "all", max(LANES)), [AT_ONCE] * max(LANES), seconds=TURN_SECONDS)
        if not (wrong := _wrong(told, [AT_ONCE] * max(LANES))):
            return
        if time.monotonic() > deadline:
            raise load.WrongWork(wrong)


def _size(peers: MockPeers, subject: Subject, lanes: int, plan: Plan) -> Size:
    """Turns of so many lanes, one after another, whose peers say everything at once."""
    turns, scripts = plan.lanes // lanes, [AT_ONCE] * lanes
    before = subject.running.cpu_seconds()
    seen = [_turn(peers, subject, "all", scripts) for _ in range(turns)]
    cpu_seconds = subject.running.cpu_seconds() - before
    return Size(
        lanes=lanes,
        turns=turns,
        cpu_us=cpu_seconds / (turns * lanes) * 1e6,
        frame_ms=median((told.frame_ns - told.asked_ns) / 1e6 for told in seen),
        whole_ms=median((told.ended_ns - told.asked_ns) / 1e6 for told in seen),
    )


def _first(peers: MockPeers, subject: Subject, turn: int) -> float:
    """How late, in ms, a client of `first` has the fastest peer's first text; every peer is once the fastest."""
    scripts = [Script(0.02 + (peer + turn) % RACERS * 0.005, texts=10, gap_seconds=0.01) for peer in range(RACERS)]
    told = _turn(peers, subject, "first", scripts)
    return (told.texts[0][3] - told.first_sent_ns) / 1e6


def _end(peers: MockPeers, subject: Subject) -> float:
    """How late, in ms, a client of `all` has the end after the last peer's."""
    told = _turn(peers, subject, "all", [TALKING] * RACERS)
    return (told.ended_ns - told.last_sent_ns) / 1e6


def _turn(peers: MockPeers, subject: Subject, mode: str, scripts: Sequence[Script]) -> Told:
    """One turn that is held to its work. Raises WrongWork."""
    told = peers.turn(_door(subject, mode, len(scripts)), scripts, seconds=TURN_SECONDS)
    if wrong := _wrong(told, scripts if mode == "all" else scripts[:1]):
        raise load.WrongWork(wrong)
    return told


def _wrong(told: Told, scripts: Sequence[Script]) -> str:
    """What is not as it must be where as many lanes as there are scripts are shown; else nothing."""
    seen: dict[int, list[int]] = {}
    for peer, number, _, _ in told.texts:
        seen.setdefault(peer, []).append(number)
    if told.failure:
        return told.failure
    if len(seen) != len(scripts):
        return f"{len(seen)} lanes of {len(scripts)} were shown"
    if any(numbers != list(range(scripts[0].texts)) for numbers in seen.values()):
        return "a lane was not shown whole and in order"
    return ""
