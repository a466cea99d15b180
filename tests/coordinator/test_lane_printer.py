"""What a terminal shows of several lanes at once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.command.lane_printer import LanePrinter, Piece


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def test_a_lane_alone_has_no_heading() -> None:
    printer = LanePrinter(["default@nas"])
    assert printer.text(0, "a") == [Piece(0, "a")]
    assert printer.text(0, "b") == [Piece(0, "b")]
    assert printer.end(0) == []


def test_one_lane_is_live_and_the_others_wait_for_their_turn() -> None:
    printer = LanePrinter(["nas", "laptop", "tower"])
    assert printer.text(1, "l1") == [Piece(1, "laptop\n", is_heading=True), Piece(1, "l1")]
    assert printer.text(0, "n1") == []
    assert printer.text(2, "t1") == []
    assert printer.end(2) == []
    assert printer.text(1, " l2") == [Piece(1, " l2")]
    assert printer.end(1) == [Piece(0, "\n\nnas\n", is_heading=True), Piece(0, "n1")]
    assert printer.text(0, " n2") == [Piece(0, " n2")]
    assert text_of(printer.end(0)) == "\n\ntower\nt1"


def test_a_lane_that_says_nothing_has_its_heading_all_the_same() -> None:
    printer = LanePrinter(["nas", "laptop"])
    assert text_of(printer.end(0)) == "nas\n"
    assert text_of(printer.text(1, "hi")) == "\n\nlaptop\nhi"


@given(
    st.lists(st.lists(st.text(min_size=1, max_size=3), max_size=4), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_no_text_is_lost_or_shown_in_another_lane(lanes: list[list[str]], random: Any) -> None:
    printer = LanePrinter([f"lane-{index}" for index in range(len(lanes))])
    left: list[list[str | None]] = [[*texts, None] for texts in lanes]
    shown: list[Piece] = []
    while any(left):
        lane = random.choice([index for index, texts in enumerate(left) if texts])
        text = left[lane].pop(0)
        shown += printer.end(lane) if text is None else printer.text(lane, text)
    for index, texts in enumerate(lanes):
        own = [piece for piece in shown if piece.lane == index]
        assert text_of([piece for piece in own if not piece.is_heading]) == "".join(texts)
        assert sum(piece.is_heading for piece in own) == (len(lanes) > 1)
        assert len(lanes) == 1 or own[0].is_heading
    changes = [piece.lane for index, piece in enumerate(shown) if index == 0 or shown[index - 1].lane != piece.lane]
    assert len(changes) == len(set(changes)), "a lane was interrupted"
