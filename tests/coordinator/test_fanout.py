"""Many lanes, one answer: what is shown of each."""

import pytest
from coordinator.told import ToldTurn
from switchboard_coordinator.groups.fanout import (
    Arrangement,
    Choices,
    Delta,
    End,
    Ended,
    FirstText,
    LaneEvent,
    Note,
    Progress,
    Sections,
    Shown,
    Text,
    Tool,
    arrangement,
    lane_event,
    summed_usage,
)

NAMES = ["default@nas", "default@laptop", "default@tower"]
STOP = End("stop")
DOWN = End("error", "[failed: peer_unavailable] tower takes no connection")
CANCELLED = End("error", "[cancelled: asked]")
TOOL = Tool({"tool": "terminal"})

Told = list[tuple[int, LaneEvent]]


def shown(arranged: Arrangement, events: Told) -> list[list[Shown]]:
    return [arranged.feed(lane, event) for lane, event in events]


def test_in_sections_the_lane_whose_text_comes_first_is_live_and_the_others_follow_whole() -> None:
    told: Told = [
        (1, Text("lap")),
        (0, Text("na")),
        (1, Text("top")),
        (0, Text("s")),
        (0, STOP),
        (1, STOP),
        (2, Text("tow")),
        (2, Text("er")),
        (2, STOP),
    ]
    assert shown(Sections(NAMES), told) == [
        [Delta(0, "### default@laptop\n\nlap")],
        [],
        [Delta(0, "top")],
        [],
        [],
        [Delta(0, "\n\n### default@nas\n\nnas")],
        [],
        [],
        [Delta(0, "\n\n### default@tower\n\ntower"), Ended(0, "stop")],
    ]


def test_a_lane_that_fails_before_any_text_is_a_section_at_once_and_takes_nobodys_place() -> None:
    assert shown(Sections(NAMES[1:]), [(1, DOWN), (0, Text("hi")), (0, STOP)]) == [
        [Delta(0, "### default@tower\n\n[failed: peer_unavailable] tower takes no connection")],
        [Delta(0, "\n\n### default@laptop\n\nhi")],
        [Ended(0, "stop")],
    ]


def test_a_lane_that_fails_after_text_says_so_in_its_own_section_live_or_not() -> None:
    broken = End("error", "[interrupted: peer_outcome_unknown] it broke off")
    assert shown(Sections(NAMES), [(0, Text("half")), (1, Text("third")), (1, DOWN), (0, broken), (2, STOP)])[2:] == [
        [],
        [
            Delta(0, "\n\n[interrupted: peer_outcome_unknown] it broke off"),
            Delta(0, "\n\n### default@laptop\n\nthird\n\n[failed: peer_unavailable] tower takes no connection"),
        ],
        [Delta(0, "\n\n### default@tower\n\n"), Ended(0, "stop")],
    ]


def test_choices_show_every_lane_live_in_a_choice_of_its_own() -> None:
    told: Told = [
        (1, Text("b")),
        (0, Text("a")),
        (1, End("length")),
        (2, DOWN),
        (0, End("error", "[cancelled: asked]")),
    ]
    assert shown(Choices(range(3), NAMES), told) == [
        [Delta(1, "b")],
        [Delta(0, "a")],
        [Ended(1, "length")],
        [Delta(2, f"default@tower: {DOWN.note}"), Ended(2, "error")],
        [Delta(0, "\n\ndefault@nas: [cancelled: asked]"), Ended(0, "error")],
    ]


def test_of_lanes_without_a_choice_only_the_tools_are_shown() -> None:
    told: Told = [(0, Text("a")), (0, TOOL), (1, DOWN), (0, STOP), (2, Text("both say")), (2, STOP)]
    assert shown(Choices([2], NAMES), told) == [
        [],
        [Progress(0, TOOL.progress)],
        [],
        [],
        [Delta(0, "both say")],
        [Ended(0, "stop")],
    ]


def test_one_lane_alone_needs_no_words_for_its_failure_for_the_turn_says_them() -> None:
    assert shown(Choices([0], NAMES), [(0, Text("half")), (0, DOWN)]) == [[Delta(0, "half")], [Ended(0, "error")]]


def test_the_first_text_brings_what_its_lane_did_before_and_nothing_of_the_others() -> None:
    other = Tool({"tool": "browser"})
    told: Told = [
        (0, other),
        (1, TOOL),
        (1, Note("denied")),
        (2, DOWN),
        (1, Text("a")),
        (0, Text("late")),
        (1, Text("b")),
    ]
    assert shown(FirstText(), [*told, (0, CANCELLED), (1, TOOL), (1, STOP)]) == [
        [],
        [],
        [],
        [],
        [Progress(1, TOOL.progress), Delta(0, "denied"), Delta(0, "a")],
        [],
        [Delta(0, "b")],
        [],
        [Progress(1, TOOL.progress)],
        [Ended(0, "stop")],
    ]


@pytest.mark.parametrize(
    ("mode", "more", "kind", "choices", "own"),
    [
        ("", {}, Choices, 1, [0, None, None]),
        ("any", {"answers": "choices"}, Choices, 1, [0, None, None]),
        ("first", {"answers": "choices"}, FirstText, 1, [None, None, None]),
        ("all", {}, Sections, 1, [None, None, None]),
        ("all", {"answers": "choices"}, Choices, 3, [0, 1, 2]),
        ("quorum", {"quorum": 2}, Sections, 1, [None, None, None]),
        ("quorum", {"quorum": 2, "answers": "choices"}, Choices, 3, [0, 1, 2]),
        ("council", {"chair": 2}, Choices, 1, [None, None, 0]),
        ("council", {"chair": 2, "answers": "choices"}, Choices, 3, [1, 2, 0]),
    ],
)
def test_every_mode_has_its_arrangement(
    mode: str, more: dict[str, object], kind: type, choices: int, own: list[int | None]
) -> None:
    arranged = arrangement(ToldTurn(mode, ["nas", "laptop", "tower"], **more).accepted)
    assert isinstance(arranged, kind)
    assert arranged.choices == choices
    assert [arranged.choice_of(lane) for lane in range(3)] == own


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("lane.sent", {"address": "default@nas", "attempt": 1}, None),
        ("lane.text", {"text": "a"}, Text("a")),
        ("lane.text", {"text": ""}, None),
        ("lane.tool", {"progress": TOOL.progress}, TOOL),
        ("lane.done", {"finish_reason": "length"}, End("length")),
        ("lane.done", {}, STOP),
        ("lane.failed", {"code": "peer_failed", "message": "broke"}, End("error", "[failed: peer_failed] broke")),
        ("lane.interrupted", {"code": "x", "message": "gone"}, End("error", "[interrupted: x] gone")),
        ("lane.cancelled", {"reason": "lost_race"}, End("error", "[cancelled: lost_race]")),
    ],
)
def test_events_of_a_lane_are_read(name: str, data: dict[str, object], expected: LaneEvent | None) -> None:
    turn = ToldTurn("", ["nas"])
    if name != "lane.sent":
        turn.send()
    lane = turn.turn.lanes[0]
    assert lane_event(turn.note(name, 0, **data), lane) == expected


def test_who_cannot_approve_is_told_what_was_denied_for_that() -> None:
    turn = ToldTurn("", ["nas"], transports=["runs"])
    turn.send()
    denied = {"choice": "deny", "by": "switchboard"}
    lane = turn.turn.lanes[0]

    def told(asked: dict[str, str], by: dict[str, str]) -> LaneEvent | None:
        assert lane_event(turn.note("lane.approval", 0, approval="a", **asked), lane) is None
        said = lane_event(turn.events[-1]._replace(name="lane.approved", data={"approval": "a", **by}), lane)
        turn.note("lane.approved", 0, approval="a", **by)
        return said

    words = "which a chat client cannot give; /api/turns can]\n\n"
    assert told({"command": "rm -r x"}, denied) == Note(
        f"[approval denied: the agent asked for leave to run `rm -r x`, {words}"
    )
    turn.say(0, "well")
    assert told({}, denied) == Note(f"\n\n[approval denied: the agent asked for leave, {words}")
    assert told({"command": "rm -r x"}, {"choice": "once", "by": "me"}) is None


def test_usage_is_summed_over_lanes_that_told_theirs() -> None:
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert summed_usage([usage, None, {}, {**usage, "prompt_tokens": None}]) == {
        "prompt_tokens": 1,
        "completion_tokens": 4,
        "total_tokens": 6,
    }
