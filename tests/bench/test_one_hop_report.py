import pytest

from bench.one_hop_report import OneHop
from bench.rounds import MANY, ONE, Figures, Measured, Round, disturbed


def many(requests_per_second: float, p99_ms: float = 2.0, failure: str = "") -> Round:
    return Round(MANY, requests_per_second, p50_ms=1.0, p99_ms=p99_ms, failure=failure)


def alone(p50_ms: float, failure: str = "") -> Round:
    return Round(ONE, 1000.0, p50_ms=p50_ms, p99_ms=9.0, failure=failure)


def measured(name: str, *rates: float, alone_ms: float = 0.1) -> Measured:
    return Measured(name, "1.0", (*(many(rate) for rate in rates), alone(alone_ms)), memory_mb=12.4)


def mark(systems: tuple[Measured, ...], name: str) -> str:
    return next(str(mark) for mark in OneHop(systems).marks() if name in mark.name)


def seen(*rounds: Round) -> Figures:
    found = Measured("x", rounds=rounds).figures()
    assert found is not None
    return found


def test_a_system_is_judged_by_the_median_of_its_rounds() -> None:
    found = seen(many(100), many(900), many(300), alone(0.3), alone(0.1), alone(0.2))
    assert (found.requests_per_second, found.lowest, found.highest, found.p50_alone_ms) == (300, 100, 900, 0.2)


def test_a_failed_round_gives_no_figure() -> None:
    assert seen(many(100), many(9000, failure="errors: 3 status"), alone(0.1)).requests_per_second == 100


def test_a_system_whose_rounds_all_failed_has_no_figures_and_says_why() -> None:
    result = OneHop((Measured("x", rounds=(many(100, failure="no answer at all"), alone(0.1))),))
    assert result.figures() == {"x": None}
    assert "failed" in result.table()
    assert result.notes() == ["x: no answer at all"]
    assert not result.is_complete()


def test_one_connection_alone_is_never_mixed_with_many() -> None:
    found = seen(many(100, p99_ms=7.0), alone(0.1))
    assert (found.p50_ms, found.p99_ms, found.p50_alone_ms) == (1.0, 7.0, 0.1)


@pytest.mark.parametrize(("rate", "verdict"), [(1500, "held"), (1499, "missed")])
def test_requests_are_held_against_those_of_others(rate: float, verdict: str) -> None:
    systems = (measured("switchboard", rate), measured("Caddy", 1000))
    assert mark(systems, "Caddy").startswith(f"{verdict}  one hop: requests/s ≥ 1.5× Caddy  1.")


@pytest.mark.parametrize(("ours_ms", "verdict"), [(0.3, "held"), (0.35, "missed")])
def test_what_is_added_to_one_connection_is_counted_without_the_direct_way(ours_ms: float, verdict: str) -> None:
    systems = (
        measured("upstream", 1, alone_ms=0.1),
        measured("Caddy", 1, alone_ms=0.3),
        measured("switchboard", 1, alone_ms=ours_ms),
    )
    assert mark(systems, "added").startswith(verdict)
    assert mark(systems, "added").endswith("of 0.240 ms")


def test_a_mark_against_a_system_that_is_not_here_is_skipped() -> None:
    systems = (measured("switchboard", 500), Measured("nginx", skipped="not installed"))
    assert mark(systems, "nginx") == "skipped  one hop: requests/s ≥ 0.4× nginx  no figure for nginx"
    assert mark(systems, "added").endswith("no figure for Caddy and upstream")


def test_the_table_compares_ours_with_every_system() -> None:
    systems = (measured("switchboard", 3000), measured("theirs", 2000), Measured("other", skipped="x"))
    head, _, *lines = OneHop(systems).table().splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["switchboard 1.0", "theirs 1.0", "other"]
    assert [line.split("|")[-2].strip() for line in [head, *lines]] == ["switchboard is", "1.00×", "1.50×", ""]
    assert "12 MB" in lines[1]


def test_a_round_on_a_core_that_others_used_says_nothing() -> None:
    assert disturbed(many(100), 0.1) == many(100)
    assert disturbed(many(100), 0.49).failure == "others had 49% of the core: measure on an idle machine"
    assert disturbed(many(0, failure="no answer at all"), 0.49).failure == "no answer at all"
