"""Runs schedules in the slots of a stage and judges each."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from switchboard_coordinator.peers import watch
from switchboard_coordinator.turns import runs_lane
from waiting import until

from .client import Caller
from .exchanges import exchanges
from .schedule import APPROVE, Ask, Mode, Schedule, Trouble, drawn
from .stage import FaultyStage, Machine, Slot
from .verdict import Evidence, LaneEvidence, Told, findings, in_words

SLOTS = 4
REST_SECONDS = 10.0
LOST_SECONDS = 3.0
"""Whoever knows of a run has answered its approval by then."""
_SOONER = ((watch, "AWAY_SECONDS", 0.05), (watch, "DOWN_SECONDS", 0.1), (runs_lane, "SILENCE_SECONDS", 1.0))
"""The coordinator looks so often here at peers that are away, which shall be back for the next schedule, and at runs
that are silent, which no client here would wait for."""


@dataclass
class Tally:
    """What many schedules came to; `found` has what is wrong under the seed of its schedule."""

    schedules: int = 0
    turns: int = 0
    executions: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """How clients were told of the end: a code, or what else it was."""
    found: dict[int, str] = field(default_factory=dict)

    def note(self, schedule: Schedule, seen: "Seen") -> None:
        """Judge one schedule and count it."""
        self.schedules += 1
        wrong = list(seen.leftovers)
        for evidence in seen.turns:
            self.turns += 1
            self.executions += sum(lane.executions for lane in evidence.lanes)
            self.kinds[evidence.heard[-1].code or evidence.heard[-1].kind] += 1
            if found := findings(evidence):
                wrong.append(in_words(found, evidence))
        if wrong:
            self.found[schedule.seed] = "\n  ".join(wrong)

    def add(self, other: "Tally") -> None:
        """Count what another one counted."""
        self.schedules += other.schedules
        self.turns += other.turns
        self.executions += other.executions
        self.kinds += other.kinds
        self.found |= other.found

    def told(self) -> str:
        """Every finding, with the command that runs its schedule once more."""
        return "\n".join(f"\nFOUND by make faults N=1 SEED={seed}\n  {wrong}" for seed, wrong in self.found.items())

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common())
        return f"{self.schedules} schedules, {self.turns} turns, {self.executions} executions: {kinds}"


async def run_all(seeds: Iterable[int], *, slots: int = SLOTS, enough: int = 1_000_000) -> Tally:
    """Run the schedules of these seeds, as many at once as there are slots, and judge them.

    No further one is begun when so many as `enough` have come out wrong.
    """
    tally = Tally()
    waiting = iter(seeds)
    with tempfile.TemporaryDirectory() as folder, _looking_sooner():
        async with FaultyStage(Path(folder)) as stage:
            laid = [await stage.slot(number) for number in range(slots)]
            await stage.start()

            async def one_after_another(slot: Slot) -> None:
                while len(tally.found) < enough and (seed := next(waiting, None)) is not None:
                    schedule = drawn(seed)
                    tally.note(schedule, await run(schedule, slot, stage.caller))

            async with asyncio.TaskGroup() as running:
                for slot in laid:
                    running.create_task(one_after_another(slot))
    return tally


@contextmanager
def _looking_sooner() -> Iterator[None]:
    with ExitStack() as patches:
        for where, name, seconds in _SOONER:
            patches.enter_context(patch.object(where, name, seconds))
        yield


@dataclass(frozen=True)
class Seen:
    """What was seen of one schedule."""

    turns: tuple[Evidence, ...]
    leftovers: tuple[str, ...]
    """What did not come to rest, in words."""


async def run(schedule: Schedule, slot: Slot, caller: Caller) -> Seen:
    """Let it happen, wait until everything is at rest, and tell what was seen."""
    async with asyncio.TaskGroup() as behind:
        giving_up = behind.create_task(_give_up(slot))
        async with asyncio.TaskGroup() as happening:
            for trouble in schedule.troubles:
                happening.create_task(_suffer(trouble, slot.machines[trouble.peer]))
            asked = [happening.create_task(_ask(ask, schedule.seed, slot, caller)) for ask in schedule.asks]
        giving_up.cancel()

    leftovers = [words async for words in _restless(slot, caller)]
    turns = [
        await _evidence(ask, schedule.seed, told.result(), slot, caller)
        for ask, told in zip(schedule.asks, asked, strict=True)
    ]
    for machine in slot.machines:
        machine.forget()
    return Seen(tuple(turns), tuple(leftovers))


async def _restless(slot: Slot, caller: Caller) -> AsyncIterator[str]:
    """Wait until everything is at rest; gives in words what does not come to it."""

    async def every_turn_is_over() -> bool:
        return not slot.models & {*await caller.open_turns()}

    async def every_agent_is_idle() -> bool:
        for machine in slot.machines:
            await machine.end_runs(APPROVE)
        return slot.is_at_rest

    async def every_peer_is_found() -> bool:
        return await caller.finds(machine.name for machine in slot.machines)

    for condition, words in (
        (every_turn_is_over, "a turn is not over"),
        (every_agent_is_idle, "an agent is at work, or bytes are on their way"),
        (every_peer_is_found, "a peer is not found again"),
    ):
        try:
            await until(condition, seconds=REST_SECONDS)
        except TimeoutError:
            yield f"{words} after {REST_SECONDS:g} s"


async def _give_up(slot: Slot) -> None:
    """End runs that nobody will ever allow to go on, for their ids are lost: they would take others' places."""
    while True:
        await asyncio.sleep(LOST_SECONDS / 4)
        for machine in slot.machines:
            await machine.end_runs(APPROVE, older_than_seconds=LOST_SECONDS)


async def _suffer(trouble: Trouble, machine: Machine) -> None:
    await asyncio.sleep(trouble.at_ms / 1000)
    if trouble.fault is None:
        with machine.draining(trouble.hop):
            await asyncio.sleep(trouble.for_ms / 1000)
    else:
        async with machine.hops[trouble.hop].suffering(trouble.fault):
            await asyncio.sleep(trouble.for_ms / 1000)


async def _ask(ask: Ask, seed: int, slot: Slot, caller: Caller) -> tuple[Told, ...]:
    await asyncio.sleep(ask.at_ms / 1000)
    return await caller.ask(ask, slot.model(ask), ask.text(seed))


async def _evidence(ask: Ask, seed: int, heard: tuple[Told, ...], slot: Slot, caller: Caller) -> Evidence:
    turn = next((told.turn for told in heard if told.turn), None)
    record = await caller.record(turn) if turn is not None else None
    each: list[tuple[Machine, ...]] = [(machine,) for machine in slot.machines]
    where: dict[Mode, list[tuple[Machine, ...]]]
    where = {"one": [each[ask.peer]], "any": [slot.machines], "first": each, "all": each}
    return Evidence(ask, heard, record, tuple(_lane(ask, seed, machines) for machines in where[ask.mode]))


def _lane(ask: Ask, seed: int, machines: tuple[Machine, ...]) -> LaneEvidence:
    mark = ask.mark(seed)
    crossings = [crossing for machine in machines for crossing in machine.crossings]
    carried = [
        exchange
        for crossing in crossings
        if mark.encode() in crossing.asked.came
        for exchange in exchanges(crossing)
        if mark.encode() in exchange.body
    ]
    at_work = [machine.name for machine in machines for _ in machine.agent.executed(mark)]
    return LaneEvidence(
        tuple(machine.name for machine in machines),
        tuple(sorted(carried, key=lambda exchange: exchange.at)),
        len(at_work),
        ask.answer(seed, at_work[-1]) if at_work else "",
        has_unread=any(crossing.is_over and not crossing.asked.came for crossing in crossings),
    )
