"""How a group's turn goes on."""

import pytest
from coordinator.told import ToldTurn
from switchboard_coordinator.groups.modes import NOTHING, Decision, course

LANES = ["nas", "laptop", "tower"]


def decisions(turn: ToldTurn, question: str = "what is it?") -> dict[int, Decision]:
    """What was decided at which event."""
    way = course(turn.accepted, question)
    assert way is not None
    told = {event.id: way.feed(event) for event in turn.events}
    return {event_id: decision for event_id, decision in told.items() if decision != NOTHING}


@pytest.mark.parametrize("mode", ["", "any", "all"])
def test_a_turn_whose_lanes_go_their_own_way_has_no_course(mode: str) -> None:
    assert course(ToldTurn(mode, LANES).accepted, "x") is None


def test_at_the_first_text_the_others_have_lost() -> None:
    turn = ToldTurn("first", LANES)
    turn.send()
    turn.note("lane.tool", 0, progress={"tool": "terminal"})
    turn.say(2, "")
    won = turn.say(1, "it is")
    turn.say(0, "late")
    turn.say(1, " this")
    turn.cancel(0, "lost_race")
    turn.cancel(2, "lost_race")
    turn.done(1)
    turn.end()
    assert decisions(turn) == {won.id: Decision((0, 2), "lost_race")}


def test_a_lane_that_is_over_before_the_first_text_is_not_cancelled_and_wins_nothing() -> None:
    turn = ToldTurn("first", LANES)
    turn.send()
    turn.fail(0)
    turn.done(1)
    won = turn.say(2, "it is")
    assert decisions(turn) == {won.id: Decision((), "lost_race")}


def test_a_quorum_is_reached_once_and_cancels_who_is_not_over() -> None:
    turn = ToldTurn("quorum", [*LANES, "phone"], quorum=2)
    turn.send()
    turn.say(0, "a")
    turn.done(3)
    turn.fail(1)
    reached = turn.done(0)
    turn.say(2, "b")
    turn.done(2)
    turn.end()
    assert decisions(turn) == {reached.id: Decision((2,), "quorum_reached")}


def test_a_quorum_of_lanes_that_failed_is_never_reached() -> None:
    turn = ToldTurn("quorum", LANES, quorum=2)
    turn.send()
    turn.fail(0)
    turn.fail(1)
    turn.done(2)
    turn.end()
    assert decisions(turn) == {}


def council() -> ToldTurn:
    """Three lanes; the chair is laptop."""
    turn = ToldTurn("council", [*LANES, "laptop"], chair=3)
    turn.send(0, 1, 2)
    return turn


def test_a_chair_is_asked_when_all_others_are_over_with_every_answer_and_every_failure() -> None:
    turn = council()
    turn.say(0, "It is ")
    turn.say(1, "Not this.")
    turn.say(0, "this.")
    turn.done(0)
    turn.say(2, "half an ans")
    turn.fail(2, "interrupted", "peer_outcome_unknown", "tower broke off")
    last = turn.done(1)
    turn.send(3)
    turn.say(3, "They differ.")
    turn.done(3)
    turn.end()
    told = decisions(turn)
    assert told.keys() == {last.id}
    asked = told[last.id].ask_chair
    assert asked is not None
    assert told[last.id].cancel == ()
    assert "<question>\nwhat is it?\n</question>" in asked
    assert '<answer from="default@nas">\nIt is this.\n</answer>' in asked
    assert '<answer from="default@laptop">\nNot this.\n</answer>' in asked
    assert "- default@tower: interrupted (tower broke off)\n" in asked
    assert "half an ans" not in asked


def test_a_chair_is_not_asked_where_nobody_answered() -> None:
    turn = council()
    turn.fail(0)
    turn.cancel(1)
    last = turn.fail(2)
    assert decisions(turn) == {last.id: Decision((3,), "nobody_answered")}


def test_a_chair_that_is_over_is_not_asked() -> None:
    turn = council()
    turn.say(0, "this")
    turn.done(0)
    turn.cancel(3)
    turn.cancel(1)
    turn.done(2)
    assert decisions(turn) == {}


def test_an_answer_without_words_is_an_answer() -> None:
    turn = council()
    turn.done(0)
    turn.fail(1)
    last = turn.fail(2)
    asked = decisions(turn)[last.id].ask_chair
    assert asked is not None
    assert '<answer from="default@nas">\n\n</answer>' in asked
