from typing import Any

import pytest

from bench.report import MANY, ONE, Mark, Measured, Round, as_json, failures, figures, mark_lines, table


def many(requests_per_second: float, p99_ms: float = 2.0, failure: str = "") -> Round:
    return Round(MANY, requests_per_second, p50_ms=1.0, p99_ms=p99_ms, failure=failure)


def alone(p50_ms: float, failure: str = "") -> Round:
    return Round(ONE, 1000.0, p50_ms=p50_ms, p99_ms=9.0, failure=failure)


def measured(name: str, *rates: float) -> Measured:
    return Measured(name, "1.0", (*(many(rate) for rate in rates), alone(0.1)), memory_mb=12.4)


def test_a_system_is_judged_by_the_median_of_its_rounds() -> None:
    seen = figures(Measured("x", rounds=(many(100), many(900), many(300), alone(0.3), alone(0.1), alone(0.2))))
    assert seen is not None
    assert (seen.requests_per_second, seen.lowest, seen.highest, seen.p50_alone_ms) == (300, 100, 900, 0.2)


def test_a_failed_round_gives_no_figure() -> None:
    subject = Measured("x", rounds=(many(100), many(9000, failure="errors: 3 status"), alone(0.1)))
    seen = figures(subject)
    assert seen is not None
    assert seen.requests_per_second == 100
    assert failures(subject) == ["errors: 3 status"]


def test_a_system_whose_rounds_all_failed_has_no_figures() -> None:
    subject = Measured("x", rounds=(many(100, failure="no answer at all"), alone(0.1)))
    assert figures(subject) is None
    assert "failed" in table([subject], "x")


def test_one_connection_alone_is_never_mixed_with_many() -> None:
    seen = figures(Measured("x", rounds=(many(100, p99_ms=7.0), alone(0.1))))
    assert seen is not None
    assert (seen.p50_ms, seen.p99_ms, seen.p50_alone_ms) == (1.0, 7.0, 0.1)


@pytest.mark.parametrize(("rate", "line"), [(5000, "held"), (4990, "missed")])
def test_a_mark_is_held_from_its_very_figure_on(rate: float, line: str) -> None:
    systems = [measured("ours", rate), measured("theirs", 500)]
    assert mark_lines([Mark("ours", 10, "theirs")], systems) == [f"{line}  one hop: ≥ 10× theirs  {rate / 500:.2f}×"]


def test_a_mark_against_a_system_that_is_not_here_is_skipped() -> None:
    systems = [measured("ours", 500), Measured("theirs", skipped="not installed")]
    lines = mark_lines([Mark("ours", 0.6, "theirs")], systems)
    assert lines == ["skipped  one hop: ≥ 0.6× theirs  no figure for theirs"]


def test_a_missed_mark_never_reads_like_a_held_one_by_rounding() -> None:
    lines = mark_lines([Mark("ours", 10, "theirs")], [measured("ours", 9_999), measured("theirs", 1000)])
    assert lines == ["missed  one hop: ≥ 10× theirs  9.99×"]


def test_the_table_compares_ours_with_every_system() -> None:
    systems = [measured("ours", 3000), measured("theirs", 2000), Measured("other", skipped="x")]
    head, _, *lines = table(systems, "ours").splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["ours 1.0", "theirs 1.0", "other"]
    assert [line.split("|")[-2].strip() for line in [head, *lines]] == ["ours is", "1.00×", "1.50×", ""]
    assert len({len(line) for line in [head, *lines]}) == 1
    assert "12 MB" in lines[1]


def test_the_json_holds_the_machine_every_round_and_every_mark() -> None:
    systems = [measured("ours", 3000, 3100), measured("theirs", 2000), Measured("other", skipped="not here")]
    whole: dict[str, Any] = as_json(systems, [Mark("ours", 1, "theirs")], {"cores": 2}, quick=True)
    assert whole["machine"] == {"cores": 2}
    assert whole["marks"] == [{"name": "one hop: ≥ 1× theirs", "verdict": "held", "figure": "1.52×"}]
    ours, _, other = whole["systems"]
    assert len(ours["rounds"]) == 3
    assert ours["ratio_to"] == {"ours": 1.0, "theirs": 1.525}
    assert (other["medians"], other["skipped"]) == (None, "not here")
