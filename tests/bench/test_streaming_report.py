from dataclasses import replace

import pytest

from bench.flows import Climb, Flow, Measured
from bench.streaming_report import LATE_MS, Streaming

GOOD = Flow(256, 50, 20, frames=256_256, p50_ms=0.5, p99_ms=3.0, worst_ms=9.0, source_p99_ms=1.0)


def measured(name: str, *p99_ms: float, most: int = 1000) -> Measured:
    flows = tuple(replace(GOOD, p99_ms=p99) for p99 in p99_ms)
    return Measured(name, "1.0", flows, tuple(Climb(most, (GOOD,)) for _ in p99_ms))


def mark(systems: tuple[Measured, ...], name: str) -> str:
    return next(str(mark) for mark in Streaming(systems).marks() if name in mark.name)


def test_a_number_of_streams_holds_while_nothing_is_lost_and_frames_are_in_time() -> None:
    assert GOOD.holds(LATE_MS)
    assert not replace(GOOD, failure="3 of 9 frames did not arrive").holds(LATE_MS)
    assert not replace(GOOD, p99_ms=50.0).holds(LATE_MS)


def test_a_source_that_was_late_itself_proves_nothing() -> None:
    assert not replace(GOOD, source_p99_ms=25.0).holds(LATE_MS)


def test_a_system_is_judged_by_the_median_of_its_rounds_and_its_worst_frame() -> None:
    seen = measured("x", 1.0, 9.0, 3.0).figures()
    assert seen is not None
    assert (seen.p99_ms, seen.worst_ms, seen.most_streams) == (3.0, 9.0, 1000)


def test_a_system_that_lost_a_frame_in_one_round_has_no_lateness() -> None:
    lost = replace(GOOD, failure="1 of 256,256 frames did not arrive")
    subject = Measured("switchboard", flows=(GOOD, lost), climbs=(Climb(100, ()),))
    seen = subject.figures()
    assert seen is not None
    assert (seen.p99_ms, seen.most_streams) == (None, 100)
    assert "lost" in Streaming((subject,)).table()
    assert mark((subject,), "lost") == f"missed  streaming: no frame lost or reordered  {lost.failure}"


@pytest.mark.parametrize(("ours_ms", "verdict"), [(6.0, "held"), (6.1, "missed")])
def test_added_lateness_is_what_goes_beyond_the_direct_way(ours_ms: float, verdict: str) -> None:
    systems = (measured("direct", 1.0), measured("nginx", 3.0), measured("switchboard", ours_ms))
    assert mark(systems, "added").startswith(verdict)
    assert mark(systems, "added").endswith("of 5.00 ms")


def test_a_hop_that_was_faster_than_the_direct_way_adds_nothing_and_not_less() -> None:
    systems = (measured("direct", 3.0), measured("nginx", 1.0), measured("switchboard", 4.5))
    assert mark(systems, "added") == "missed  streaming: added p99 ≤ 2× nginx + 1 ms  1.50 ms of 1.00 ms"


@pytest.mark.parametrize(("ours", "verdict"), [(800, "held"), (799, "missed")])
def test_the_number_of_streams_is_held_against_that_of_caddy(ours: int, verdict: str) -> None:
    systems = (measured("Caddy", 1.0, most=800), measured("switchboard", 1.0, most=ours))
    assert mark(systems, "most streams").startswith(verdict)


def test_a_mark_against_a_system_that_is_not_here_is_skipped() -> None:
    systems = (measured("direct", 1.0), measured("switchboard", 1.0), Measured("Caddy", skipped="not here"))
    assert mark(systems, "most streams") == "skipped  streaming: most streams ≥ 1× Caddy  no figure for Caddy"
    assert mark(systems, "added").endswith("no figure for nginx")
    assert Streaming(systems).notes()[0] == "Caddy: not here"


def test_it_is_said_where_the_load_may_have_been_the_limit() -> None:
    systems = (measured("direct", 1.0, most=1000), measured("nginx", 1.0, most=800), measured("Caddy", 1.0, most=799))
    (note,) = Streaming(systems).notes()
    assert "holds 1,000 streams without a hop" in note
    assert "nginx" in note
    assert "Caddy" not in note
