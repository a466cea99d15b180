"""Runs schedules in the slots of a stage and judges each."""

import asyncio
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from waiting import until

from .client import Caller
from .exchanges import exchanges
from .schedule import Ask, Schedule, Trouble, drawn
from .stage import FaultyStage, Machine, Slot
from .verdict import Evidence, LaneEvidence, Told, findings, words

SLOTS = 12
REST_SECONDS = 10.0


@dataclass
class Tally:
    """What many schedules came to; `found` names each finding under the seed of its schedule."""

    schedules: int = 0
    turns: int = 0
    executions: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    found: dict[int, list[str]] = field(default_factory=dict)

    def note(self, evidence: Evidence) -> None:
        """Count one turn."""
        self.turns += 1
        self.executions += sum(lane.executions for lane in evidence.lanes)
        told = evidence.told
        kind = told.code if told.kind == "error" else told.kind
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items(), key=lambda item: -item[1]))
        return f"{self.schedules} schedules, {self.turns} turns, {self.executions} executions: {kinds}"


async def run_all(seeds: Iterable[int], *, slots: int = SLOTS) -> Tally:
    """Run the schedules of these seeds, as many at once as there are slots, and judge them."""
    tally = Tally()
    waiting = iter(seeds)
    with tempfile.TemporaryDirectory() as folder:
        async with FaultyStage(Path(folder)) as stage:
            laid = [await stage.slot(number) for number in range(slots)]
            await stage.start()
            async with asyncio.TaskGroup() as running:
                for slot in laid:
                    running.create_task(_run_each(waiting, slot, stage.caller, tally))
    return tally


async def _run_each(seeds: Iterator[int], slot: Slot, caller: Caller, tally: Tally) -> None:
    for seed in seeds:
        found = []
        for evidence in await run(drawn(seed), slot, caller):
            tally.note(evidence)
            if wrong := findings(evidence):
                found.append(words(wrong, evidence))
        tally.schedules += 1
        if found:
            tally.found[seed] = found


async def run(schedule: Schedule, slot: Slot, caller: Caller) -> list[Evidence]:
    """Let it happen, wait until everything is at rest, and tell what was seen of each turn."""
    async with asyncio.TaskGroup() as happening:
        for trouble in schedule.troubles:
            happening.create_task(_suffer(trouble, slot.machines[trouble.peer]))
        asked = [happening.create_task(_ask(ask, schedule.seed, slot, caller)) for ask in schedule.asks]
    await until(lambda: slot.is_at_rest, seconds=REST_SECONDS)
    seen = [
        _evidence(ask, ask.mark(schedule.seed), told.result(), slot)
        for ask, told in zip(schedule.asks, asked, strict=True)
    ]
    for machine in slot.machines:
        for hop in machine.hops.values():
            hop.forget()
    return seen


async def _suffer(trouble: Trouble, machine: Machine) -> None:
    await asyncio.sleep(trouble.at_ms / 1000)
    if trouble.fault is None:
        with machine.draining():
            await asyncio.sleep(trouble.for_ms / 1000)
    else:
        async with machine.hops[trouble.hop].suffering(trouble.fault):
            await asyncio.sleep(trouble.for_ms / 1000)


async def _ask(ask: Ask, seed: int, slot: Slot, caller: Caller) -> Told:
    await asyncio.sleep(ask.at_ms / 1000)
    model = slot.machines[ask.peer].name if ask.mode == "one" else f"{ask.mode}@{slot.group}"
    return await caller.ask(ask, model, ask.text(seed))


def _evidence(ask: Ask, mark: str, told: Told, slot: Slot) -> Evidence:
    machines = [slot.machines[ask.peer]] if ask.mode == "one" else slot.machines
    return Evidence(ask, told, tuple(_lane(machine, mark) for machine in machines))


def _lane(machine: Machine, mark: str) -> LaneEvidence:
    return LaneEvidence(
        machine.name,
        tuple(
            exchange
            for crossing in machine.crossings
            for exchange in exchanges(crossing)
            if mark.encode() in exchange.body
        ),
        sum(mark in turn.text for turn in machine.agent.turns),
        has_unread=any(crossing.is_over and not crossing.asked.came for crossing in machine.crossings),
    )
