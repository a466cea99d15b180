"""What may be said of a turn, case by case."""

from dataclasses import replace

import pytest

from .exchanges import Exchange
from .schedule import Ask
from .verdict import DONE, END_MARK, UNKNOWN, Evidence, Known, LaneEvidence, Told, findings, known, words

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
ASK = Ask(0, at_ms=0, mode="one", peer=0, is_stream=True, directives="")


def answered(status: int | None, answer: bytes = b"", started: str | None = None) -> Exchange:
    headers = {"x-switchboard-started": started} if started else {}
    return Exchange(0.0, "POST", "/p/default/v1/chat/completions", b"{}", status, headers, answer)


WHOLE = answered(200, TEXT + END_MARK)
BROKEN = answered(200, TEXT)
MISSING = answered(None)
BUSY = answered(429)


@pytest.mark.parametrize(
    ("exchange", "what"),
    [
        (MISSING, "unknown"),
        (BROKEN, "unknown"),
        (answered(200, TEXT + END_MARK[:-1]), "unknown"),
        (WHOLE, "over"),
        (BUSY, "not_started"),
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


def seen(told: Told, *exchanges: Exchange, executions: int = 1, has_unread: bool = False) -> list[str]:
    """The findings of a turn at one peer."""
    return findings(Evidence(ASK, told, (LaneEvidence("nas", exchanges, executions, has_unread),)))


HEARD = Told("whole", "hi")
AMBIGUOUS = Told("error", code=UNKNOWN, started="unknown")
UNAVAILABLE = Told("error", code="peer_unavailable", started="no")


def test_what_is_as_it_should_be() -> None:
    assert seen(HEARD, WHOLE) == []
    assert seen(AMBIGUOUS, MISSING) == seen(AMBIGUOUS, MISSING, executions=0) == []
    assert seen(replace(AMBIGUOUS, text="h"), BROKEN) == []
    assert seen(AMBIGUOUS, executions=0, has_unread=True) == []
    assert seen(UNAVAILABLE, executions=0) == []
    assert seen(Told("error", code="agent_unreachable", started="no"), answered(502, started="no"), executions=0) == []
    assert seen(HEARD, BUSY, WHOLE) == []
    assert seen(Told("left"), BROKEN) == seen(Told("left"), executions=0) == []


@pytest.mark.parametrize(
    ("told", "exchanges", "executions", "found"),
    [
        (HEARD, (WHOLE,), 2, "executed twice: [2]"),
        (Told("left"), (WHOLE,), 2, "executed twice: [2]"),
        (HEARD, (MISSING, WHOLE), 1, "sent to nas again after an answer that was unknown"),
        (Told("left"), (BROKEN, WHOLE), 1, "sent to nas again after an answer that was unknown"),
        (Told("silence", words="8 s"), (MISSING,), 0, "lost in silence: 8 s"),
        (UNAVAILABLE, (BUSY,), 1, "told as not started (peer_unavailable), and executed"),
        (UNAVAILABLE, (BUSY,), 1, "nas is labelled peer_unavailable and executed it"),
        (UNAVAILABLE, (MISSING,), 0, "nas is unknown and labelled peer_unavailable"),
        (AMBIGUOUS, (WHOLE,), 1, f"nas is over and labelled {UNKNOWN}"),
        (AMBIGUOUS, (BUSY,), 0, f"nas is not_started and labelled {UNKNOWN}"),
        (AMBIGUOUS, (), 0, f"nas is never asked and labelled {UNKNOWN}"),
        (Told("error", code="internal_error"), (), 0, "nas is never asked and labelled internal_error"),
        (HEARD, (WHOLE,), 0, "nas is done after 0 executions"),
        (HEARD, (), 0, f"nas is never asked and labelled {DONE}"),
        (Told("whole", "h"), (WHOLE,), 1, "the client heard 'h' where the agent said 'hi'"),
        (replace(AMBIGUOUS, text="x"), (BROKEN,), 1, "the client heard 'x', which does not begin 'hi'"),
    ],
)
def test_what_is_found(told: Told, exchanges: tuple[Exchange, ...], executions: int, found: str) -> None:
    assert found in seen(told, *exchanges, executions=executions)


def group(told: Told, *lanes: LaneEvidence) -> list[str]:
    """The findings of a group's turn."""
    evidence = Evidence(replace(ASK, mode="all"), told, lanes)
    found = findings(evidence)
    assert all(each in words(found, evidence) for each in found)
    return found


def test_every_lane_of_a_group_is_judged_by_its_own() -> None:
    nas, tower = LaneEvidence("nas", (WHOLE,), 1), LaneEvidence("tower", (MISSING,), 1)
    lanes = (("nas", DONE), ("tower", UNKNOWN))
    assert group(Told("whole", "### nas hi", lanes=lanes), nas, tower) == []
    assert group(Told("whole", "### nas", lanes=lanes), nas, tower) == ["the client did not hear what nas said"]
    assert group(Told("whole", "hi", lanes=(("nas", DONE), ("tower", DONE))), nas, tower) == [
        f"tower is unknown and labelled {DONE}"
    ]
    assert group(Told("whole", "hi", lanes=lanes), nas, replace(tower, executions=2)) == ["executed twice: [1, 2]"]
    assert group(Told("error", code="every_lane_failed", started="unknown"), tower, replace(tower, peer="nas")) == []
