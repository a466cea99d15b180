"""How far a reader has come, as it is written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.turns.cursor import Cursor


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**6 - 1))
def test_a_cursor_is_read_as_it_was_written(event: int, restarts: int) -> None:
    cursor = Cursor(event, restarts)
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    ("text", "cursor"), [("0", Cursor(0)), (" 57 ", Cursor(57)), ("007", Cursor(7)), ("57-0", Cursor(57))]
)
def test_a_cursor_is_read_in_every_spelling(text: str, cursor: Cursor) -> None:
    assert Cursor.parse(text) == cursor


def test_a_turn_without_restarts_is_told_in_plain_numbers() -> None:
    assert (str(Cursor(57)), str(Cursor(57, 1))) == ("57", "57-1")


@pytest.mark.parametrize(
    "text",
    ["", " ", "-1", "+1", "1.0", "1-", "-", "1-2-3", "1 -2", "event", "0x1", "1_0", "٣", "²", "9" * 13, "1-" + "9" * 7],
)
def test_what_is_no_cursor_is_refused_by_name(text: str) -> None:
    with pytest.raises(MalformedRequest, match="is the id of an event") as refused:
        Cursor.parse(text)
    assert (refused.value.status, refused.value.param) == (400, "after")
