"""Many lanes, one answer."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.address import Address
from switchboard_coordinator.chat import QUIET, Finish, Text, Tool
from switchboard_coordinator.chunks import Completion, arrangement, error_frame
from switchboard_coordinator.errors import EveryLaneFailed, PeerBusy, PeerOutcomeUnknown, PeerTimeout, PeerUnavailable
from switchboard_coordinator.fanout import (
    Choices,
    Delta,
    Ended,
    Failed,
    LaneEvent,
    LaneResult,
    Progress,
    Sections,
    TurnEvent,
    failure_note,
    heading,
    summed_usage,
)

NAS, LAPTOP, TOWER = (Address("default", name) for name in ("nas", "laptop", "tower"))
STOP = Finish("stop", None, None)
DOWN = Failed(PeerUnavailable("tower takes no connection"))


def text_of(events: list[TurnEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


def test_the_lane_whose_text_comes_first_is_live_and_the_others_follow_whole() -> None:
    sections = Sections([NAS, LAPTOP, TOWER])
    assert sections.feed(1, Text("lap")) == [Delta(0, "### default@laptop\n\nlap")]
    assert sections.feed(0, Text("na")) == []
    assert sections.feed(1, Text("top")) == [Delta(0, "top")]
    assert sections.feed(0, Text("s")) == []
    assert sections.feed(0, STOP) == []
    assert sections.feed(1, STOP) == [Delta(0, "\n\n### default@nas\n\nnas")]
    assert sections.feed(2, Text("tow")) == []
    assert sections.feed(2, Text("er")) == []
    assert sections.feed(2, STOP) == [Delta(0, "\n\n### default@tower\n\ntower"), Ended(0, "stop")]


def test_a_lane_that_fails_before_any_text_is_a_section_at_once_and_takes_nobodys_place() -> None:
    sections = Sections([NAS, TOWER])
    failed = "### default@tower\n\n[failed: peer_unavailable] tower takes no connection"
    assert sections.feed(1, DOWN) == [Delta(0, failed)]
    assert sections.feed(0, Text("hi")) == [Delta(0, "\n\n### default@nas\n\nhi")]
    assert sections.feed(0, STOP) == [Ended(0, "stop")]


def test_a_live_lane_that_fails_says_so_in_its_own_section() -> None:
    sections = Sections([NAS, LAPTOP])
    sections.feed(0, Text("half an ans"))
    shown = sections.feed(0, Failed(PeerOutcomeUnknown("default@nas broke off")))
    assert text_of(shown) == "\n\n[failed: peer_outcome_unknown] default@nas broke off"
    assert text_of(sections.feed(1, STOP)) == "\n\n### default@laptop\n\n"


def test_tools_of_every_lane_are_told_with_their_address() -> None:
    tool = Tool({"tool": "terminal"})
    assert Sections([NAS, LAPTOP]).feed(1, tool) == [Progress(0, LAPTOP, {"tool": "terminal"})]
    assert Choices([NAS, LAPTOP]).feed(1, tool) == [Progress(1, LAPTOP, {"tool": "terminal"})]


def test_choices_show_every_lane_live_in_a_choice_of_its_own() -> None:
    choices = Choices([NAS, LAPTOP])
    assert choices.feed(1, Text("b")) == [Delta(1, "b")]
    assert choices.feed(0, Text("a")) == [Delta(0, "a")]
    assert choices.feed(0, QUIET) == []
    assert choices.feed(1, Finish("length", None, None)) == [Ended(1, "length")]
    assert choices.feed(0, DOWN) == [
        Delta(0, "default@nas: [failed: peer_unavailable] tower takes no connection"),
        Ended(0, "error"),
    ]


LANE = st.tuples(st.lists(st.text(min_size=1, max_size=3), max_size=5), st.booleans())


@given(st.lists(LANE, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_no_text_is_lost_doubled_or_put_into_a_wrong_lane(lanes: list[tuple[list[str], bool]], random: Any) -> None:
    addresses = [Address("default", f"p{index}") for index in range(len(lanes))]
    left: list[list[LaneEvent]] = [[*map(Text, texts), STOP if is_well else DOWN] for texts, is_well in lanes]
    sections, choices = Sections(addresses), Choices(addresses)
    in_sections: list[TurnEvent] = []
    in_choices: list[TurnEvent] = []
    while any(left):
        lane = random.choice([index for index, events in enumerate(left) if events])
        event = left[lane].pop(0)
        in_sections += sections.feed(lane, event)
        in_choices += choices.feed(lane, event)

    for index, (texts, is_well) in enumerate(lanes):
        own = [event for event in in_choices if isinstance(event, Delta | Ended) and event.choice == index]
        assert isinstance(own[-1], Ended)
        note = [f"{addresses[index]}: {failure_note(DOWN.error)}"] if not is_well else []
        assert [event.text for event in own if isinstance(event, Delta)] == texts + note
        body = "".join(texts)
        if not is_well:
            body = f"{body}\n\n{failure_note(DOWN.error)}" if texts else failure_note(DOWN.error)
        assert heading(addresses[index]) + body in text_of(in_sections)
    assert text_of(in_sections).count("### default@p") == len(lanes)
    assert [event for event in in_sections if isinstance(event, Ended)] == [Ended(0, "stop")]
    assert isinstance(in_sections[-1], Ended)


def results() -> list[LaneResult]:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    failed = LaneResult(2, TOWER, error=PeerTimeout("tower is silent"), duration_ms=5000)
    return [LaneResult(0, NAS, usage, duration_ms=7), LaneResult(1, LAPTOP, usage, duration_ms=9), failed]


def loaded(frame: bytes) -> Any:
    return json.loads(frame.partition(b"data: ")[2])


def test_the_stream_of_a_group_names_its_lanes_first_and_tells_what_became_of_them_last() -> None:
    completion = Completion("all@fleet", "choices", [NAS, LAPTOP, TOWER])
    opening = [loaded(frame) for frame in completion.opening()]
    assert opening[0]["switchboard"] == {
        "lanes": [
            {"index": 0, "address": "default@nas"},
            {"index": 1, "address": "default@laptop"},
            {"index": 2, "address": "default@tower"},
        ]
    }
    assert [chunk["choices"][0]["index"] for chunk in opening] == [0, 1, 2]
    assert all(chunk["choices"][0]["delta"] == {"role": "assistant"} for chunk in opening)
    (text,) = completion.frames(Delta(1, "hi"))
    assert loaded(text)["choices"] == [{"index": 1, "delta": {"content": "hi"}, "finish_reason": None}]
    (tool,) = completion.frames(Progress(0, NAS, {"tool": "terminal"}))
    assert tool.startswith(b"event: hermes.tool.progress\n")
    assert loaded(tool) == {"tool": "terminal", "switchboard": {"address": "default@nas"}}
    assert len(completion.frames(Ended(2, "error"))) == 1
    assert len(completion.frames(Ended(0, "stop"))) == 1
    assert completion.frames(Ended(1, "length")) == []
    last, done = completion.closing(results())
    assert done == b"data: [DONE]\n\n"
    assert loaded(last)["choices"] == [{"index": 1, "delta": {}, "finish_reason": "length"}]
    assert loaded(last)["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
    lanes = loaded(last)["switchboard"]["lanes"]
    assert [lane["state"] for lane in lanes] == ["done", "done", "failed"]
    assert (lanes[2]["code"], lanes[2]["message"], lanes[2]["duration_ms"]) == ("peer_timeout", "tower is silent", 5000)


def test_the_whole_of_a_group_holds_the_same_texts() -> None:
    completion = Completion("all@fleet", "choices", [NAS, LAPTOP])
    for event in (Delta(0, "a"), Delta(1, "x"), Delta(0, "b"), Ended(0, "stop"), Ended(1, "length")):
        completion.note(event)
    whole = completion.whole(results()[:2])
    assert whole["object"] == "chat.completion"
    assert whole["model"] == "all@fleet"
    assert [(choice["message"]["content"], choice["finish_reason"]) for choice in whole["choices"]] == [
        ("ab", "stop"),
        ("x", "length"),
    ]
    assert isinstance(arrangement("sections", [NAS]), Sections)


def test_usage_is_summed_over_lanes_that_told_theirs() -> None:
    assert summed_usage(results()) == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}


def test_when_every_lane_failed_in_the_same_way_the_turn_failed_in_that_way() -> None:
    same = EveryLaneFailed([("default@nas", PeerBusy("a")), ("default@tower", PeerBusy("b"))])
    assert (same.status, same.code, same.started) == (429, "peer_busy", "no")
    assert same.words == "default@nas: a; default@tower: b"
    assert same.retry_after is None
    later = PeerBusy("b")
    later.retry_after = "3"
    assert EveryLaneFailed([("default@nas", PeerBusy("a")), ("default@tower", later)]).retry_after == "3"
    mixed = EveryLaneFailed([("default@nas", PeerBusy("a")), ("default@tower", PeerOutcomeUnknown("b"))])
    assert (mixed.status, mixed.code, mixed.started) == (502, "every_lane_failed", "unknown")


def test_the_frame_that_ends_a_broken_stream_is_an_openai_error() -> None:
    error = {"message": "gone", "type": "peer_error", "param": None, "code": "peer_outcome_unknown"}
    assert loaded(error_frame(PeerOutcomeUnknown("gone"))) == {"error": error}
