"""Who is next."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from switchboard_coordinator.peers.queueing import FairQueue

OWNERS = st.sampled_from("abcd")


def queue_of(*items: str) -> FairQueue[str]:
    """`a1` is an item of `a`."""
    queue: FairQueue[str] = FairQueue()
    for item in items:
        queue.add(item[0], item)
    return queue


def test_owners_take_turns_and_first_come_within_one_is_first_served() -> None:
    queue = queue_of("a1", "a2", "a3", "b1", "c1", "c2")
    assert [queue.take() for _ in range(6)] == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_who_was_served_and_comes_back_is_behind_those_who_waited() -> None:
    queue = queue_of("a1", "b1", "c1")
    assert queue.take() == "a1"
    queue.add("a", "a2")
    assert list(queue) == ["b1", "c1", "a2"]


def test_whoever_has_a_thousand_waiting_delays_a_newcomer_by_one() -> None:
    queue = queue_of(*(f"a{number}" for number in range(1000)))
    queue.take()
    queue.add("b", "b0")
    assert list(queue).index("b0") == 1


def test_who_leaves_makes_room_and_changes_no_other_order() -> None:
    queue = queue_of("a1", "a2", "b1", "b2")
    queue.remove("a", "a1")
    assert list(queue) == ["a2", "b1", "b2"]
    queue.remove("a", "a2")
    assert list(queue) == ["b1", "b2"]


def test_an_empty_queue_has_nobody_next() -> None:
    with pytest.raises(IndexError):
        queue_of().take()
    with pytest.raises(KeyError):
        queue_of().remove("a", "a1")
    with pytest.raises(ValueError, match="not in"):
        queue_of("a1").remove("a", "a2")


@given(st.lists(OWNERS))
def test_between_two_turns_of_one_owner_everybody_else_who_waits_has_one_at_most(owners: list[str]) -> None:
    queue: FairQueue[str] = FairQueue()
    for owner in owners:
        queue.add(owner, owner)
    served = [queue.take() for _ in owners]
    for owner in set(owners):
        places = [place for place, name in enumerate(served) if name == owner]
        for before, after in pairwise(places):
            between = served[before + 1 : after]
            assert len(between) == len(set(between))


class Queueing(RuleBasedStateMachine):
    """A queue beside the plainest one that could be: a list for each owner, in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue()
        self.lines: list[tuple[str, list[int]]] = []
        self.number = 0

    @rule(owner=OWNERS)
    def add(self, owner: str) -> None:
        self.number += 1
        self.queue.add(owner, self.number)
        line = next((line for name, line in self.lines if name == owner), None)
        if line is None:
            self.lines.append((owner, line := []))
        line.append(self.number)

    @precondition(lambda self: self.lines)
    @rule()
    def take(self) -> None:
        owner, line = self.lines.pop(0)
        assert self.queue.take() == line.pop(0)
        if line:
            self.lines.append((owner, line))

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        owner, line = data.draw(st.sampled_from(self.lines))
        item = data.draw(st.sampled_from(line))
        self.queue.remove(owner, item)
        line.remove(item)
        self.lines = [(name, items) for name, items in self.lines if items]

    @invariant()
    def the_order_foretold_is_the_order_served(self) -> None:
        lines, expected = [[*items] for _, items in self.lines], []
        while lines:
            line = lines.pop(0)
            expected.append(line.pop(0))
            if line:
                lines.append(line)
        assert list(self.queue) == expected
        assert len(self.queue) == len(expected)


TestQueueing = Queueing.TestCase
