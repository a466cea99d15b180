import pytest

from bench.marks import TIMES, Unit, at_least, at_most, no_figure_for, table

SECONDS = Unit(2, " s")


@pytest.mark.parametrize(("value", "verdict"), [(10.0, "held"), (9.999, "missed")])
def test_at_least_is_held_from_its_very_figure_on(value: float, verdict: str) -> None:
    assert at_least("rate", value, 10, TIMES).verdict == verdict


@pytest.mark.parametrize(("value", "verdict"), [(1.0, "held"), (1.001, "missed")])
def test_at_most_is_held_up_to_its_very_figure(value: float, verdict: str) -> None:
    assert at_most("start", value, 1, SECONDS).verdict == verdict


def test_a_missed_mark_never_reads_like_a_held_one_by_rounding() -> None:
    assert str(at_least("rate", 9.999, 10, TIMES)) == "missed  rate  9.99×"
    assert str(at_most("start", 1.001, 1, SECONDS)) == "missed  start  1.01 s"


def test_a_mark_without_a_figure_is_skipped_and_says_what_lacks() -> None:
    lacking = no_figure_for(ours=1.0, theirs=None)
    assert str(at_least("rate", None, 10, TIMES, lacking=lacking)) == "skipped  rate  no figure for theirs"
    assert at_most("start", None, 1, SECONDS, lacking=lacking).verdict == "skipped"


def test_marks_are_shown_in_rows_below_a_head() -> None:
    assert table([at_least("rate", 12, 10, TIMES)])[1:] == [["rate", "12.00×", "held"]]
