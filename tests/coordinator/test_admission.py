"""Places for turns, and the queue behind them. Time is a number that a test sets: see `Clocked`."""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from switchboard_coordinator.errors import PeerBusy
from switchboard_coordinator.peers.admission import LONGEST_PAUSE_SECONDS, STEP_SECONDS, Admission, Waiting

Result = TypeVar("Result")


class Clocked(asyncio.SelectorEventLoop):
    """A loop whose time stands still until it is told to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        """The time of every timer."""
        return self.now

    @property
    def timers(self) -> int:
        """How many are set and not called off."""
        return sum(not timer.cancelled() for timer in vars(self)["_scheduled"])

    def settle(self) -> None:
        """Let everything happen that can happen now."""
        for _ in range(6):
            self.run_until_complete(asyncio.sleep(0))

    def pass_(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""
        self.settle()
        self.now += seconds
        self.settle()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What comes of this work, which must not wait for time."""
        return self.run_until_complete(work)

    def refuse(self, admission: Admission, retry_after_seconds: float) -> None:
        """The peer refuses one of the turns that run."""

        async def lower() -> None:
            admission.lower("nas", retry_after_seconds)

        self.run(lower())


@dataclass(eq=False)
class Turn:
    """One turn that wants a place, holds it until `end` and remembers what it was told."""

    admission: Admission
    consumer: str = "me"
    heard: list[Waiting] = field(default_factory=list)
    is_running: bool = False
    has_choice: bool = False

    def start(self, loop: Clocked) -> "Turn":
        """Ask for a place."""
        self.over = asyncio.Event()
        self.task = loop.create_task(self._run())
        loop.settle()
        return self

    async def _run(self) -> None:
        async with self.admission.place("nas", self.consumer, self.heard.append, has_choice=self.has_choice):
            self.is_running = True
            try:
                await self.over.wait()
            finally:
                self.is_running = False

    def end(self, loop: Clocked) -> None:
        """Give the place back."""
        self.over.set()
        loop.settle()

    @property
    def positions(self) -> list[int]:
        """Where it stood, one after the other."""
        return [waiting.position for waiting in self.heard]


@pytest.fixture
def loop() -> Iterator[Clocked]:
    with_clock = Clocked()
    yield with_clock
    for task in asyncio.all_tasks(with_clock):
        task.cancel()
    with_clock.settle()
    with_clock.close()


def started(loop: Clocked, admission: Admission, *consumers: str) -> list[Turn]:
    return [Turn(admission, consumer).start(loop) for consumer in consumers]


def refusal(turn: Turn) -> PeerBusy:
    error = turn.task.exception()
    assert isinstance(error, PeerBusy)
    return error


def test_a_free_place_is_taken_without_waiting_and_without_a_task(loop: Clocked) -> None:
    admission = Admission({"nas": 2})

    async def through() -> None:
        await asyncio.sleep(0)
        place = admission.place("nas", "me", heard.append).__aenter__()
        with pytest.raises(StopIteration):
            place.send(None)  # it ends without giving the loop a turn

    heard: list[Waiting] = []
    loop.run(through())
    assert heard == []
    assert (admission.running("nas"), admission.free("nas"), admission.waiting("nas")) == (1, 1, 0)


def test_as_many_run_as_the_limit_allows_and_the_others_are_told_where_they_stand(loop: Clocked) -> None:
    admission = Admission({"nas": 2, "tower": 1})
    first, second, third, fourth = started(loop, admission, "me", "me", "me", "me")
    assert [turn.is_running for turn in (first, second, third, fourth)] == [True, True, False, False]
    assert (third.heard, fourth.heard) == ([Waiting(1, None)], [Waiting(2, None)])
    assert (admission.running("nas"), admission.waiting("nas"), admission.free("nas")) == (2, 2, 0)
    assert admission.free("tower") == 1
    loop.pass_(8.0)
    first.end(loop)
    assert third.is_running
    assert third.positions == [1], "who has a place is told nothing more"
    assert fourth.heard == [Waiting(2, None), Waiting(1, 4.0)], "8 s a turn, two at once"


def test_the_expected_wait_follows_the_mean_of_the_turns_that_ended_there_lately(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    for seconds in (10.0, 20.0):
        turn = Turn(admission).start(loop)
        loop.pass_(seconds)
        turn.end(loop)
    _, waiting, last = started(loop, admission, "me", "me", "me")
    assert waiting.heard == [Waiting(1, 12.0)]
    assert last.heard == [Waiting(2, 24.0)]


def test_consumers_take_turns(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    running, *waiting = started(loop, admission, "x", "greedy", "greedy", "greedy", "modest")
    served = []
    for _ in waiting:
        running.end(loop)
        running = next(turn for turn in waiting if turn.is_running)
        served.append(running.consumer)
    assert served == ["greedy", "modest", "greedy", "greedy"]


def test_a_turn_is_told_when_another_consumers_turn_goes_before_it(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    _, first, second = started(loop, admission, "x", "greedy", "greedy")
    modest = Turn(admission, "modest").start(loop)
    assert (first.positions, second.positions, modest.positions) == ([1], [2, 3], [2])


def test_who_waits_and_leaves_is_forgotten_and_the_others_move_up(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    running, first, second = started(loop, admission, "me", "me", "me")
    first.task.cancel()
    loop.settle()
    assert first.task.cancelled()
    assert (second.positions, admission.waiting("nas")) == ([2, 1], 1)
    running.end(loop)
    assert second.is_running


def test_who_is_cancelled_in_the_moment_of_its_place_hands_it_on(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    running, first, second = started(loop, admission, "me", "me", "me")

    async def both() -> None:
        running.over.set()
        await running.task  # the place is first's now, which has not run since
        first.task.cancel()

    loop.run(both())
    loop.settle()
    assert first.task.cancelled()
    assert second.is_running
    assert admission.running("nas") == 1


def test_a_listener_that_breaks_breaks_its_own_turn_alone(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    running, first, second = started(loop, admission, "me", "me", "me")

    def breaking(_: Waiting) -> None:
        raise ZeroDivisionError

    async def broken() -> None:
        async with admission.place("nas", "other", breaking):
            raise AssertionError("not reached")

    with pytest.raises(ZeroDivisionError):
        loop.run(broken())
    assert (admission.running("nas"), admission.waiting("nas")) == (1, 2)
    for turn in (running, first, second):
        assert turn.is_running
        turn.end(loop)
    assert (admission.running("nas"), admission.waiting("nas")) == (0, 0)


def test_a_full_queue_refuses_and_says_when_to_come_again(loop: Clocked) -> None:
    admission = Admission({"nas": 1}, longest_queue=2)
    turn = Turn(admission).start(loop)
    loop.pass_(7.2)
    turn.end(loop)
    *_, refused = started(loop, admission, "me", "me", "me", "me")
    error = refusal(refused)
    assert (error.status, error.code, error.started, error.retry_after) == (429, "peer_busy", "no", "15")
    assert "nas runs 1 turns" in error.words
    assert "2 turns wait" in error.words
    assert admission.waiting("nas") == 2


def test_where_no_turn_has_ended_yet_it_says_to_come_again_in_a_second(loop: Clocked) -> None:
    admission = Admission({"nas": 1}, longest_queue=0)
    _, refused = started(loop, admission, "me", "me")
    assert refusal(refused).retry_after == "1"


def test_who_has_waited_too_long_is_refused_and_forgotten(loop: Clocked) -> None:
    admission = Admission({"nas": 1}, longest_wait_seconds=30.0)
    running, late = started(loop, admission, "me", "me")
    loop.pass_(20.0)
    later = Turn(admission).start(loop)
    loop.pass_(10.1)
    assert "within 30 s" in refusal(late).words
    assert later.positions == [2, 1]
    running.end(loop)
    assert later.is_running


def test_a_peer_that_refuses_gets_nothing_for_as_long_as_it_asks_then_fewer_then_step_by_step_all(
    loop: Clocked,
) -> None:
    admission = Admission({"nas": 4})
    turns = started(loop, admission, *["me"] * 8)
    loop.refuse(admission, 2.0)
    turns[3].end(loop)
    assert (admission.running("nas"), admission.limit("nas"), admission.free("nas")) == (3, 3, 0)
    turns[2].end(loop)
    assert admission.running("nas") == 2, "it is left alone"
    loop.pass_(2.1)
    assert admission.running("nas") == 3
    loop.pass_(STEP_SECONDS)
    assert (admission.running("nas"), admission.limit("nas")) == (4, 4)
    loop.pass_(10 * STEP_SECONDS)
    assert (admission.running("nas"), admission.limit("nas")) == (4, 4), "never more than the operator allows"


def test_a_peer_that_takes_not_even_one_is_asked_again_and_again(loop: Clocked) -> None:
    admission = Admission({"nas": 3})
    for _ in range(20):
        turn = Turn(admission).start(loop)
        assert turn.is_running, "a lowered limit is at least one"
        loop.refuse(admission, 1.0)
        turn.end(loop)
        waiting = Turn(admission).start(loop)
        assert not waiting.is_running
        loop.pass_(1.1)
        assert waiting.is_running
        waiting.end(loop)
    assert admission.limit("nas") == 1


def test_a_flock_of_refusals_counts_once(loop: Clocked) -> None:
    admission = Admission({"nas": 8})
    started(loop, admission, *["me"] * 8)
    for _ in range(3):
        loop.refuse(admission, 1.0)
    assert admission.limit("nas") == 7


def test_the_longest_pause_counts_and_none_is_longer_than_a_minute(loop: Clocked) -> None:
    admission = Admission({"nas": 2})
    running = Turn(admission).start(loop)
    loop.refuse(admission, 1e9)
    loop.refuse(admission, 0.0)
    running.end(loop)
    waiting = Turn(admission).start(loop)
    loop.pass_(LONGEST_PAUSE_SECONDS - 1)
    assert not waiting.is_running
    loop.pass_(1.1)
    assert waiting.is_running


def test_the_steps_of_an_earlier_refusal_do_not_lengthen_the_pause_of_the_next(loop: Clocked) -> None:
    admission = Admission({"nas": 4})
    turns = started(loop, admission, *["me"] * 4)
    loop.refuse(admission, 0.1)
    loop.pass_(0.2)
    loop.refuse(admission, 0.1)
    for turn in turns:
        turn.end(loop)
    loop.pass_(0.2)
    assert admission.free("nas") == 3


def test_a_paused_peer_gives_out_no_place_what_runs_goes_on_and_who_waited_begins_when_it_goes_on(
    loop: Clocked,
) -> None:
    admission = Admission({"nas": 2})
    loop.pass_(1.0)
    running, ended, waiting = started(loop, admission, "me", "me", "me")
    loop.pass_(4.0)
    admission.pause("nas")
    loop.settle()
    assert (admission.is_paused("nas"), admission.free("nas"), running.is_running) == (True, 0, True)
    ended.end(loop)
    late = Turn(admission, "other").start(loop)
    assert (waiting.is_running, late.is_running) == (False, False)
    assert (waiting.positions[-1], late.heard) == (1, [Waiting(2, None)]), "nobody knows how long it lasts"
    admission.pause("nas")
    admission.go_on("nas")
    loop.settle()
    assert (waiting.is_running, late.is_running, admission.waiting("nas")) == (True, False, 1)
    running.end(loop)
    assert late.is_running


def test_who_has_a_choice_does_not_wait_at_a_paused_peer(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    running, named = started(loop, admission, "me", "me")
    free = Turn(admission, has_choice=True).start(loop)
    assert free.positions == [2]
    admission.pause("nas")
    loop.settle()
    assert "is being drained" in refusal(free).words
    assert refusal(Turn(admission, has_choice=True).start(loop)).started == "no"
    assert (named.task.done(), admission.waiting("nas")) == (False, 1)
    running.end(loop)
    admission.go_on("nas")
    loop.settle()
    assert named.is_running


def test_a_pause_and_a_refusal_of_the_peer_do_not_end_each_other(loop: Clocked) -> None:
    admission = Admission({"nas": 2})
    first, second, waiting = started(loop, admission, "me", "me", "me")
    loop.refuse(admission, 2.0)
    admission.pause("nas")
    second.end(loop)
    first.end(loop)
    loop.pass_(2.1)
    assert not waiting.is_running, "the refusal is over, the pause is not"
    loop.refuse(admission, 2.0)
    admission.go_on("nas")
    loop.settle()
    assert not waiting.is_running, "the pause is over, the refusal is not"
    loop.pass_(2.1)
    assert waiting.is_running


def test_what_was_taken_up_counts_beyond_the_limit_and_while_paused(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    admission.pause("nas")
    with admission.resumed("nas"), admission.resumed("nas"):
        assert admission.running("nas") == 2
        admission.go_on("nas")
        waiting = Turn(admission).start(loop)
        assert not waiting.is_running
    loop.settle()
    assert (waiting.is_running, admission.running("nas")) == (True, 1)


def test_a_peer_without_a_name_is_a_mistake_of_ours(loop: Clocked) -> None:
    admission = Admission({"nas": 1})
    with pytest.raises(KeyError):
        admission.free("tower")


class Rush(RuleBasedStateMachine):
    """Turns come, end, are cancelled and refused in any order, with and without the loop running between."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = Clocked()
        self.most = 3
        self.admission = Admission({"nas": self.most}, longest_queue=5, longest_wait_seconds=30.0)
        self.turns: list[Turn] = []
        self.running_at_pause = 0

    @rule(consumer=st.sampled_from("abc"), has_choice=st.booleans())
    def come(self, consumer: str, has_choice: bool) -> None:
        turn = Turn(self.admission, consumer, has_choice=has_choice)
        turn.over = asyncio.Event()
        turn.task = self.loop.create_task(turn._run())
        self.turns.append(turn)

    @precondition(lambda self: self.turns)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.turns)).task.cancel()

    @precondition(lambda self: self.turns)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.turns)).over.set()

    @rule(steps=st.integers(1, 4))
    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.loop.run_until_complete(asyncio.sleep(0))

    @rule(seconds=st.sampled_from([0.5, 2.0, STEP_SECONDS, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.now += seconds

    @rule(seconds=st.sampled_from([0.0, 1.0, 3.0]))
    def refuse(self, seconds: float) -> None:
        self.loop.refuse(self.admission, seconds)

    @rule()
    def pause(self) -> None:
        self.admission.pause("nas")
        self.running_at_pause = self.admission.running("nas")

    @rule()
    def resume(self) -> None:
        self.admission.go_on("nas")

    @invariant()
    def nobody_begins_while_it_is_paused(self) -> None:
        if self.admission.is_paused("nas"):
            assert self.admission.running("nas") <= self.running_at_pause
            self.running_at_pause = self.admission.running("nas")

    @invariant()
    def nobody_runs_beyond_the_limit_and_no_place_is_left_while_somebody_waits(self) -> None:
        self.turns = [turn for turn in self.turns if not self._is_over(turn)]
        in_their_block = sum(turn.is_running for turn in self.turns)
        assert in_their_block <= self.admission.running("nas") <= self.most
        assert not (self.admission.free("nas") and self.admission.waiting("nas"))
        assert 1 <= self.admission.limit("nas") <= self.most

    @staticmethod
    def _is_over(turn: Turn) -> bool:
        if not turn.task.done():
            return False
        assert turn.task.cancelled() or isinstance(turn.task.exception(), PeerBusy | None)
        return True

    def teardown(self) -> None:
        try:
            self.admission.go_on("nas")
            self.loop.pass_(LONGEST_PAUSE_SECONDS)
            self.loop.pass_(self.most * STEP_SECONDS)
            for turn in self.turns:
                turn.over.set()
            for _ in range(len(self.turns) + 1):
                self.loop.settle()
            assert all(self._is_over(turn) for turn in self.turns), "somebody waits for ever"
            assert (self.admission.running("nas"), self.admission.waiting("nas")) == (0, 0)
            self.loop.pass_(self.most * STEP_SECONDS)
            self.loop.pass_(self.most * STEP_SECONDS)
            self.loop.pass_(self.most * STEP_SECONDS)
            assert self.admission.free("nas") == self.most, "a place was lost, or the limit stays low"
        finally:
            self.loop.close()


TestRush = Rush.TestCase
TestRush.settings = settings(stateful_step_count=40)


def test_ten_thousand_cancels_leave_nothing(loop: Clocked) -> None:
    admission = Admission({"nas": 4}, longest_queue=50)
    dice = random.Random(1)  # noqa: S311 - a schedule, no secret
    alive: list[asyncio.Task[None]] = []

    async def turn(consumer: str) -> None:
        async with admission.place("nas", consumer, lambda _: None):
            await asyncio.sleep(0)
            await asyncio.Event().wait()

    async def rush() -> int:
        cancelled = 0
        while cancelled < 10_000:
            alive.extend(asyncio.create_task(turn(dice.choice("abc"))) for _ in range(dice.randrange(4)))
            if dice.random() < 0.7:
                await asyncio.sleep(0)
            for task in dice.sample(alive, min(len(alive), dice.randrange(4))):
                alive.remove(task)
                cancelled += task.cancel()
            if dice.random() < 0.01:
                admission.lower("nas", 0.0)
        return cancelled

    assert loop.run(rush()) >= 10_000
    for task in alive:
        task.cancel()
    loop.settle()
    assert not asyncio.all_tasks(loop)
    assert loop.timers <= 1, "beside the one that lets a lowered limit rise, none outlives its turn"
    for _ in range(5):
        loop.pass_(STEP_SECONDS)
    assert (admission.running("nas"), admission.waiting("nas"), admission.free("nas")) == (0, 0, 4)
