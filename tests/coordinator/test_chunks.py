"""A turn's events as chunks, and the whole of them."""

import json
from typing import Any

import pytest
from coordinator.told import ToldTurn
from switchboard_coordinator.errors import PeerOutcomeUnknown
from switchboard_coordinator.groups.chunks import Completion, error_frame

DONE = b"data: [DONE]\n\n"
LANES = ["nas", "laptop", "tower"]


class Rendered:
    """What a client gets of a turn, streamed and whole."""

    def __init__(self, turn: ToldTurn) -> None:
        self.completion = Completion(turn.id, turn.accepted, model=turn.accepted["to"], created=7)
        self.by_event = [self.completion.frames(event) for event in turn.events]
        self.frames = [frame for frames in self.by_event for frame in frames]
        self.chunks = [json.loads(frame.partition(b"data: ")[2]) for frame in self.frames if frame != DONE]

    def deltas(self, choice: int) -> list[str]:
        choices = [entry for chunk in self.chunks for entry in chunk.get("choices", ())]
        return [
            entry["delta"]["content"] for entry in choices if entry["index"] == choice and "content" in entry["delta"]
        ]

    def reasons(self) -> dict[int, list[str]]:
        """Each choice's finish reasons: one, if all is well."""
        found: dict[int, list[str]] = {}
        for chunk in self.chunks:
            for entry in chunk.get("choices", ()):
                if entry["finish_reason"] is not None:
                    found.setdefault(entry["index"], []).append(entry["finish_reason"])
        return found

    def whole(self) -> dict[str, Any]:
        """The whole; its choices are those of the stream."""
        whole = self.completion.whole()
        for entry in whole["choices"]:
            assert entry["message"] == {"role": "assistant", "content": "".join(self.deltas(entry["index"]))}
            assert [entry["finish_reason"]] == self.reasons()[entry["index"]]
        assert whole["usage"] == self.chunks[-1]["usage"]
        assert whole["switchboard"] == self.chunks[-1]["switchboard"]
        assert (whole["id"], whole["object"], whole["created"]) == (self.chunks[0]["id"], "chat.completion", 7)
        return whole


def test_one_lane_is_plain_text_with_its_tools_as_the_agent_tells_them() -> None:
    turn = ToldTurn("", ["nas"])
    turn.send()
    turn.say(0, "Look")
    turn.note("lane.tool", 0, progress={"tool": "terminal", "status": "running"})
    turn.say(0, "ing.")
    turn.note("lane.done", 0, finish_reason="length", usage={"total_tokens": 9}, duration_ms=3)
    turn.end()
    told = Rendered(turn)
    assert [len(frames) for frames in told.by_event] == [1, 0, 1, 1, 1, 0, 2]
    assert told.chunks[0] == {
        "id": "chatcmpl-3456789abcdef0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "default@x",
        "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}],
        "switchboard": {"turn": turn.id, "mode": "", "lanes": [{"index": 0, "address": "default@nas", "choice": 0}]},
    }
    assert told.frames[2] == b'event: hermes.tool.progress\ndata: {"tool":"terminal","status":"running"}\n\n'
    assert told.deltas(0) == ["Look", "ing."]
    assert told.frames[-1] == DONE
    last = told.chunks[-1]
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "length"}]
    assert last["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 9}
    assert last["switchboard"] == {"turn": turn.id, "mode": "", "lanes": [turn.turn.lanes[0].told()]}
    assert told.whole()["choices"][0]["message"]["content"] == "Looking."


def test_a_lane_that_was_refused_and_sent_elsewhere_is_told_by_its_last_address() -> None:
    turn = ToldTurn("any", ["nas"], candidates=["default@nas", "default@laptop"])
    turn.send()
    turn.note("lane.refused", 0, address="default@nas", code="peer_unavailable", message="no connection")
    turn.note("lane.sent", 0, address="default@laptop", attempt=2, transport="chat")
    turn.note("lane.tool", 0, progress={"tool": "terminal"})
    turn.say(0, "hi")
    turn.done(0)
    turn.end()
    told = Rendered(turn)
    assert told.whole()["switchboard"]["lanes"][0]["address"] == "default@laptop"
    assert told.chunks[1] == {"tool": "terminal", "switchboard": {"address": "default@laptop"}}
    assert told.deltas(0) == ["hi"]


def test_a_lane_by_lane_answer_says_first_which_choice_is_whose_and_last_what_became_of_each() -> None:
    turn = ToldTurn("all", LANES, answers="choices")
    turn.send()
    turn.say(1, "hi")
    turn.fail(2, message="tower is silent", code="peer_timeout")
    turn.done(0, tokens=1)
    turn.done(1, tokens=2)
    turn.end()
    told = Rendered(turn)
    assert told.chunks[0]["switchboard"]["lanes"] == [
        {"index": n, "address": f"default@{name}", "choice": n} for n, name in enumerate(LANES)
    ]
    assert [chunk["choices"][0]["index"] for chunk in told.chunks[:3]] == [0, 1, 2]
    assert all(chunk["choices"][0]["delta"] == {"role": "assistant"} for chunk in told.chunks[:3])
    assert told.reasons() == {2: ["error"], 0: ["stop"], 1: ["stop"]}
    assert told.by_event[-2] == [], "the last choice ends with the turn"
    whole = told.whole()
    assert [entry["message"]["content"] for entry in whole["choices"]] == [
        "",
        "hi",
        "default@tower: [failed: peer_timeout] tower is silent",
    ]
    assert whole["usage"] == {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    lanes = whole["switchboard"]["lanes"]
    assert [lane["state"] for lane in lanes] == ["done", "done", "failed"]
    assert (lanes[2]["code"], lanes[2]["message"]) == ("peer_timeout", "tower is silent")


def test_a_quorum_lists_those_that_were_not_waited_for() -> None:
    turn = ToldTurn("quorum", LANES, quorum=2)
    turn.send()
    turn.say(2, "slow")
    for lane in (0, 1):
        turn.say(lane, "quick")
        turn.done(lane)
    turn.cancel(2, "quorum_reached")
    turn.end()
    whole = Rendered(turn).whole()
    assert whole["choices"][0]["message"]["content"] == (
        "### default@tower\n\nslow\n\n[cancelled: quorum_reached]"
        "\n\n### default@nas\n\nquick\n\n### default@laptop\n\nquick"
    )
    assert whole["switchboard"]["quorum"] == 2
    assert [lane["state"] for lane in whole["switchboard"]["lanes"]] == ["done", "done", "cancelled"]


def test_of_a_race_a_client_sees_the_role_at_once_and_the_winner_alone() -> None:
    turn = ToldTurn("first", LANES)
    turn.send()
    turn.note("lane.tool", 0, progress={"tool": "browser"})
    turn.say(1, "I ")
    turn.cancel(0, "lost_race")
    turn.say(2, "late")
    turn.cancel(2, "lost_race")
    turn.say(1, "won")
    turn.done(1)
    turn.end()
    told = Rendered(turn)
    assert told.chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    assert len([chunk for chunk in told.chunks if "tool" in chunk]) == 0
    assert told.whole()["choices"][0]["message"]["content"] == "I won"
    assert "choice" not in told.chunks[0]["switchboard"]["lanes"][0]


def test_a_race_in_which_nobody_said_a_word_is_an_empty_answer() -> None:
    turn = ToldTurn("first", LANES)
    turn.send()
    turn.done(0)
    turn.fail(1)
    turn.fail(2)
    turn.end()
    told = Rendered(turn)
    assert told.deltas(0) == []
    assert told.frames[-1] == DONE
    assert told.whole()["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("answers", ["sections", "choices"])
def test_a_councils_answer_is_its_chairs(answers: str) -> None:
    turn = ToldTurn("council", [*LANES[:2], "tower"], chair=2, answers=answers)
    turn.send(0, 1)
    turn.say(0, "this")
    turn.done(0)
    turn.fail(1, message="gone")
    turn.send(2)
    turn.say(2, "Only default@nas said this.")
    turn.done(2)
    turn.end()
    whole = Rendered(turn).whole()
    texts = [entry["message"]["content"] for entry in whole["choices"]]
    others = ["this", "default@laptop: [failed: peer_failed] gone"] if answers == "choices" else []
    assert texts == ["Only default@nas said this.", *others]
    assert whole["switchboard"]["chair"] == 2
    assert [lane["state"] for lane in whole["switchboard"]["lanes"]] == ["done", "failed", "done"]
    assert whole["usage"]["total_tokens"] == 4


def test_a_turn_that_is_not_done_ends_with_an_error_and_no_end_mark() -> None:
    turn = ToldTurn("all", LANES[:2])
    turn.send()
    turn.say(0, "half")
    turn.fail(0, "interrupted", "peer_outcome_unknown", "nas broke off")
    turn.fail(1)
    turn.end(code="peer_outcome_unknown", message="nas broke off", started="unknown", kind="peer_error")
    told = Rendered(turn)
    error = {"message": "nas broke off", "type": "peer_error", "param": None, "code": "peer_outcome_unknown"}
    assert told.chunks[-1] == {"error": error}
    assert told.frames[-1] != DONE


def test_a_turn_that_was_cancelled_says_so_in_a_stream_that_had_begun() -> None:
    turn = ToldTurn("", ["nas"])
    turn.send()
    turn.say(0, "half")
    turn.cancel(0, "asked")
    turn.end(reason="asked")
    told = Rendered(turn)
    assert told.chunks[-1]["error"]["code"] == "turn_cancelled"
    assert told.frames[-1] != DONE


def test_the_frame_that_ends_a_broken_stream_is_an_openai_error() -> None:
    error = {"message": "gone", "type": "peer_error", "param": None, "code": "peer_outcome_unknown"}
    frame = error_frame(PeerOutcomeUnknown("gone"))
    assert json.loads(frame.removeprefix(b"data: ")) == {"error": error}
