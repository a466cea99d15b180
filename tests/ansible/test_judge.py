"""The judge of a steady load: a good turn passes, and every kind of failure is found and named."""

from collections.abc import Callable
from typing import Any

import pytest
from ansible.judge import Record, judged, said, seen

MARK = "turn-0a1b2c-000007"
SPOKEN = f"{MARK} say it back"
SAID = f"[nas] echo: {SPOKEN}"


def event(number: int, name: str, **more: Any) -> dict[str, Any]:
    lane = {"lane": 0, "address": "default@nas"} if name.startswith("lane.") else {}
    return {"id": number, "event": name, **lane, **more}


ACCEPTED = event(1, "turn.accepted", lanes=["default@nas"])
GOOD = (
    ACCEPTED,
    event(2, "lane.sent", attempt=1),
    event(3, "lane.text", text=SAID[:9]),
    event(4, "lane.text", text=SAID[9:]),
    event(5, "lane.done"),
    event(6, "turn.done"),
)


def lived(*events: dict[str, Any], mark: str = MARK, due: float = 10.0, took: float = 0.5) -> Record:
    record = Record(mark, "nas", SPOKEN, due, begun=due + 0.01)
    record.accepted(due + 0.02, "turn_1")
    for told in events:
        record.see(due + took, told)
    return record


def test_a_turn_with_one_good_answer_that_the_model_saw_once_is_good() -> None:
    verdict = judged([lived(*GOOD)], {MARK: 1})
    assert verdict.failures == ()
    assert verdict.turns == 1


@pytest.mark.parametrize("times", [0, 2])
def test_a_turn_that_the_model_did_not_see_once_has_failed(times: int) -> None:
    (failure,) = judged([lived(*GOOD)], {MARK: times}).failures
    assert failure.reasons == (f"the model saw it {times} times in place of 1",)


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (GOOD[:4], "open"),
        ((*GOOD[:4], event(5, "lane.interrupted"), event(6, "turn.interrupted", code="x")), "interrupted x"),
        ((*GOOD[:4], event(5, "lane.failed"), event(6, "turn.failed", code="peer_failed")), "failed peer_failed"),
        (
            (*GOOD[:4], event(5, "lane.cancelled"), event(6, "turn.cancelled", reason="deadline")),
            "cancelled deadline",
        ),
        ((*GOOD[:4], event(5, "lane.failed"), event(6, "turn.done")), "default@nas is failed"),
        (
            (*GOOD[:3], event(4, "lane.done"), event(5, "turn.done")),
            f"default@nas said {SAID[:9]!r}",
        ),
        (
            (*GOOD[:4], event(5, "lane.text", text=SAID), event(6, "lane.done"), event(7, "turn.done")),
            f"default@nas said {SAID + SAID!r}",
        ),
        ((*GOOD[:4], *GOOD[3:]), "event 4 came behind event 4"),
        ((*GOOD[:2], *GOOD[3:]), "event 4 came behind event 2"),
    ],
)
def test_a_turn_without_exactly_one_good_answer_has_failed(events: tuple[dict[str, Any], ...], reason: str) -> None:
    (failure,) = judged([lived(*events)], {MARK: 1}).failures
    assert failure.reasons[0] == reason


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (lambda record: record.end(11.0, "refused", "401 invalid_api_key"), "refused 401 invalid_api_key"),
        (lambda record: record.end(11.0, "lost", "404 turn_not_found"), "lost 404 turn_not_found"),
        (lambda record: record.end(11.0, "given up", "after 180 s, open"), "given up after 180 s, open"),
    ],
)
def test_a_turn_that_never_became_one_has_failed(end: Callable[[Record], None], reason: str) -> None:
    record = Record(MARK, "nas", SPOKEN, 10.0)
    end(record)
    (failure,) = judged([record], {}).failures
    assert failure.reasons == (reason, "the model saw it 0 times in place of 1")


def test_an_answer_of_another_agent_has_failed() -> None:
    work = [{**told, "address": "work@nas"} if "address" in told else told for told in GOOD]
    (failure,) = judged([lived(*work)], {MARK: 1}).failures
    assert failure.reasons == (f"work@nas said {SAID!r}",)
    assert said("work@nas", "x") == "[nas/work] echo: x"
    assert said("nas", "x") == "[nas] echo: x"


def test_each_lane_of_a_group_is_to_be_seen_once() -> None:
    record = lived(
        event(1, "turn.accepted", lanes=["default@nas", "default@laptop"]),
        event(2, "lane.text", text=SAID),
        event(3, "lane.done"),
        {**event(4, "lane.text", text=said("laptop", SPOKEN)), "lane": 1, "address": "default@laptop"},
        {**event(5, "lane.done"), "lane": 1, "address": "default@laptop"},
        event(6, "turn.done"),
    )
    assert judged([record], {MARK: 2}).failures == ()
    assert judged([record], {MARK: 1}).failures[0].reasons == ("the model saw it 1 times in place of 2",)


def test_a_snapshot_takes_the_place_of_what_was_shown_before() -> None:
    lane = {"index": 0, "address": "default@nas", "state": "running", "text": SAID}
    snapshot = event(9, "turn.snapshot", lanes=[lane])
    record = lived(*GOOD[:3], snapshot, event(10, "lane.done"), event(11, "turn.done"))
    assert judged([record], {MARK: 1}).failures == ()


def test_what_was_sent_again_is_counted_by_its_reason_and_begins_anew() -> None:
    record = lived(*GOOD[:3], event(4, "turn.failed", code="peer_unavailable", started="no"))
    record.resends.append("turn ended as peer_unavailable")
    record.accepted(11.0, "turn_2")
    for told in GOOD:
        record.see(12.0, told)
    verdict = judged([record], {MARK: 1})
    assert verdict.failures == ()
    assert verdict.resends == {"turn ended as peer_unavailable": 1}


def test_figures_are_those_of_an_open_loop() -> None:
    marks = [f"turn-0a1b2c-{number:06d}" for number in range(101)]
    records = [lived(*GOOD, mark=mark, due=10 + n / 10, took=n / 100) for n, mark in enumerate(marks)]
    verdict = judged(records, dict.fromkeys(marks, 1))
    assert verdict.per_second == pytest.approx(10, rel=0.01)
    assert (verdict.p50, verdict.p99, verdict.longest) == pytest.approx((0.5, 0.99, 1.0))
    assert verdict.late == pytest.approx(0.01)


def test_a_failure_is_told_by_name_with_its_history() -> None:
    words = judged([lived(*GOOD)] * 7, {MARK: 2}).in_words(most=2)
    assert f"{MARK} to nas: the model saw it 2 times in place of 1" in words
    assert "   0.500 s  6 turn.done" in words
    assert words.endswith("… and 5 more")


def test_a_text_is_counted_by_the_mark_in_it() -> None:
    texts = [f"!!delay=0.1 {MARK} hello", f"again {MARK}", "turn-0a1b2c-000008 you", "nobody's"]
    assert seen(texts) == {MARK: 2, "turn-0a1b2c-000008": 1}


def test_no_turn_at_all_is_no_verdict() -> None:
    with pytest.raises(ValueError, match="nothing was asked"):
        judged([], {})
