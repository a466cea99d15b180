"""What may be said of a turn, case by case."""

from dataclasses import replace

import pytest

from .exchanges import Exchange
from .schedule import Ask
from .verdict import (
    CANCELLED,
    DONE,
    END_MARK,
    UNKNOWN,
    Evidence,
    Known,
    LaneEvidence,
    LaneRecord,
    Record,
    Told,
    findings,
    in_words,
    known,
)

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'


def answered(status: int | None, answer: bytes = b"", started: str | None = None, *, is_whole: bool = True) -> Exchange:
    headers = {"x-switchboard-started": started} if started else {}
    return Exchange(0.0, "POST", "/p/default/v1/chat/completions", b"{}", status, headers, answer, is_whole)


WHOLE = answered(200, TEXT + END_MARK)
BROKEN = answered(200, TEXT, is_whole=False)
MISSING = answered(None, is_whole=False)
BUSY = answered(429)


@pytest.mark.parametrize(
    ("exchange", "what"),
    [
        (MISSING, "unknown"),
        (BROKEN, "unknown"),
        (answered(200, TEXT), "unknown"),
        (answered(200, TEXT + END_MARK[:-1], is_whole=False), "unknown"),
        (answered(200, TEXT + END_MARK, is_whole=False), "over"),
        (WHOLE, "over"),
        (answered(202, b'{"run_id": "run_1"}'), "over"),
        (answered(202, b'{"run_id": "run', is_whole=False), "unknown"),
        (BUSY, "not_started"),
        (answered(429, is_whole=False), "not_started"),
        (answered(503), "not_started"),
        (answered(401), "not_started"),
        (answered(503, started="no"), "not_started"),
        (answered(502, started="no"), "not_started"),
        (answered(502, started="unknown"), "unknown"),
        (answered(500), "over"),
        (answered(400), "over"),
    ],
)
def test_what_the_coordinator_can_know(exchange: Exchange, what: Known) -> None:
    assert known(exchange) == what


ASK = Ask(0)
RUN = Ask(0, transport="runs", directives="!!die")
UNAVAILABLE = Told("error", code="peer_unavailable", started="no")


def seen(
    label: str,
    *exchanges: Exchange,
    told: Told | None = None,
    text: str = "",
    executions: int = 1,
    has_unread: bool = False,
    ask: Ask = ASK,
) -> list[str]:
    """The findings of a turn at one peer, where a client was told what is on record unless something else is given."""
    state = label if label in (DONE, CANCELLED) else "failed"
    code = "" if label in (DONE, CANCELLED) else label
    told = told or (Told("whole", text) if label == DONE else Told("error", text, code or "turn_cancelled"))
    lane = LaneEvidence(("nas",), exchanges, executions, "hi" if executions else "", has_unread)
    evidence = Evidence(ask, (told,), Record(state, code, (LaneRecord("nas", label, text),)), (lane,))
    found = findings(evidence)
    assert all(each in in_words(found, evidence) for each in found)
    return found


def test_what_is_as_it_should_be() -> None:
    assert seen(DONE, WHOLE, text="hi") == []
    assert seen(UNKNOWN, MISSING) == seen(UNKNOWN, MISSING, executions=0) == []
    assert seen(UNKNOWN, BROKEN, text="h") == []
    assert seen(UNKNOWN, executions=0, has_unread=True) == []
    assert seen(UNKNOWN, BUSY, executions=0, has_unread=True) == []
    assert seen("peer_unavailable", executions=0, told=UNAVAILABLE) == []
    assert seen("agent_unreachable", answered(502, started="no"), executions=0) == []
    assert seen(DONE, BUSY, WHOLE, text="hi") == []
    assert seen(CANCELLED, BROKEN, ask=Ask(0, cancels_after_ms=1), text="h") == []
    assert seen(CANCELLED, BROKEN, ask=Ask(0, leaves_after_ms=1), told=Told("left")) == []
    assert seen(DONE, WHOLE, text="hi", ask=Ask(0, leaves_after_ms=1), told=Told("left", "h")) == []
    assert seen(UNKNOWN, answered(202), ask=RUN) == []


@pytest.mark.parametrize(
    ("label", "exchanges", "executions", "found"),
    [
        (DONE, (WHOLE,), 2, "executed 2 times by nas"),
        (DONE, (WHOLE,), 2, "nas: done after 2 executions"),
        (DONE, (MISSING, WHOLE), 1, "sent again after an answer of nas that was unknown"),
        (DONE, (WHOLE, WHOLE), 1, "sent again after an answer of nas that was over"),
        ("peer_busy", (BUSY,), 1, "nas: labelled peer_busy, and executed"),
        ("peer_unavailable", (MISSING,), 0, "nas: unknown, and labelled peer_unavailable"),
        ("peer_failed", (BROKEN,), 1, "nas: unknown, and labelled peer_failed"),
        (UNKNOWN, (WHOLE,), 1, f"nas: over, and labelled {UNKNOWN}"),
        (UNKNOWN, (answered(202),), 1, f"nas: over, and labelled {UNKNOWN}"),
        (UNKNOWN, (BUSY,), 0, f"nas: not_started, and labelled {UNKNOWN}"),
        (UNKNOWN, (), 0, f"nas: never asked, and labelled {UNKNOWN}"),
        ("internal_error", (), 0, "nas: never asked, and labelled internal_error"),
        (CANCELLED, (BROKEN,), 1, "nas: unknown, and labelled cancelled"),
        (DONE, (WHOLE,), 0, "nas: done after 0 executions"),
        (DONE, (), 0, "nas: never asked, and labelled done"),
        (DONE, (WHOLE,), 1, "on record is '', where nas said 'hi'"),
    ],
)
def test_what_is_found(label: str, exchanges: tuple[Exchange, ...], executions: int, found: str) -> None:
    assert found in seen(label, *exchanges, executions=executions)


@pytest.mark.parametrize(
    ("told", "label", "found"),
    [
        (Told("silence", words="9 s"), DONE, "lost in silence: 9 s"),
        (Told("whole", "hi"), UNKNOWN, "told as done, and on record as failed"),
        (Told("error", code=UNKNOWN), DONE, f"told as {UNKNOWN}, and on record as done"),
        (Told("error", code=UNKNOWN), "peer_busy", f"told as {UNKNOWN}, and on record as peer_busy"),
        (Told("error", code="peer_unavailable"), CANCELLED, "told as peer_unavailable, and on record as cancelled"),
        (UNAVAILABLE, "peer_unavailable", "told as not started (peer_unavailable), and executed"),
        (Told("whole", "h"), DONE, "the client heard 'h', and on record is ['hi']"),
        (Told("left", "x"), DONE, "the client heard 'x', and on record is 'hi'"),
    ],
)
def test_what_is_found_where_the_client_heard_something_else(told: Told, label: str, found: str) -> None:
    assert found in seen(label, WHOLE, told=told, text="hi")


def test_a_run_of_an_agent_that_died_is_lost() -> None:
    assert seen(DONE, answered(202), text="hi", ask=RUN) == ["nas: over, and labelled done"]


def test_every_lane_of_a_group_is_judged_by_its_own() -> None:
    ask = Ask(0, mode="all")
    nas, tower = LaneEvidence(("nas",), (WHOLE,), 1, "one"), LaneEvidence(("tower",), (MISSING,), 1, "two")
    heard = (Told("whole", "### nas one"),)
    record = Record(DONE, "", (LaneRecord("nas", DONE, "one"), LaneRecord("tower", UNKNOWN, "")))
    evidence = Evidence(ask, heard, record, (nas, tower))
    assert findings(evidence) == []
    assert findings(replace(evidence, heard=(Told("whole", "nas"),))) == [
        "the client heard 'nas', and on record is ['one']"
    ]
    done = replace(record, lanes=(record.lanes[0], LaneRecord("tower", DONE, "two")))
    assert findings(replace(evidence, record=done, heard=(Told("whole", "one two"),))) == [
        "tower: unknown, and labelled done"
    ]
    twice = replace(tower, executions=2)
    assert findings(replace(evidence, lanes=(nas, twice))) == ["executed 2 times by tower"]


def test_of_a_race_the_client_hears_one_lane() -> None:
    ask = Ask(0, mode="first")
    lanes = tuple(LaneEvidence((name,), (WHOLE,), 1, "hi from " + name) for name in ("nas", "tower"))
    record = Record(DONE, "", tuple(LaneRecord(name, DONE, "hi from " + name) for name in ("nas", "tower")))
    evidence = Evidence(ask, (Told("whole", "hi from nas"),), record, lanes)
    assert findings(evidence) == []
    assert findings(replace(evidence, heard=(Told("whole", "hi"),))) == [
        "the client heard 'hi', and on record is ['hi from nas', 'hi from tower']"
    ]
    lost = replace(record, lanes=(record.lanes[0], LaneRecord("tower", CANCELLED, "hi")))
    assert findings(replace(evidence, record=lost)) == []


def test_two_questions_with_one_key_are_one_turn() -> None:
    lane = LaneEvidence(("nas",), (WHOLE,), 1, "hi")
    record = Record(DONE, "", (LaneRecord("nas", DONE, "hi"),))
    heard = (Told("left", turn="turn_1"), Told("whole", "hi", turn="turn_1"))
    evidence = Evidence(Ask(0, again_after_ms=1), heard, record, (lane,))
    assert findings(evidence) == []
    heard = (heard[0], replace(heard[1], turn="turn_2"))
    assert findings(replace(evidence, heard=heard)) == ["the same key gave two turns"]


def test_of_a_turn_that_no_client_knows_the_executions_count() -> None:
    lane = LaneEvidence(("nas",), (BROKEN,), 1, "hi")
    evidence = Evidence(Ask(0, leaves_after_ms=1), (Told("left"),), None, (lane,))
    assert findings(evidence) == []
    assert findings(replace(evidence, lanes=(replace(lane, executions=2),))) == ["executed 2 times by nas"]
