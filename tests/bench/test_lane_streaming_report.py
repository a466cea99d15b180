from dataclasses import replace

import pytest

from bench.flows import Climb, Flow, Measured
from bench.lane_streaming_report import LaneStreaming

FLOW = Flow(500, 20, 20, frames=200_500, p50_ms=0.5, p99_ms=10.1, worst_ms=30.0, source_p99_ms=1.0)
DIRECT = Measured("direct", "", (replace(FLOW, p99_ms=0.1),), (Climb(4000, ()),))
OURS = Measured("switchboard", "1.0", (FLOW,), (Climb(1000, ()),))
GOOD = LaneStreaming((DIRECT, OURS), weighed_streams=1000, idle_bytes=50_000_000, streaming_bytes=90_000_000)


def verdicts(seen: LaneStreaming) -> dict[str, str]:
    return {mark.name: mark.verdict for mark in seen.marks()}


def test_everything_within_its_bounds_is_held() -> None:
    assert set(verdicts(GOOD).values()) == {"held"}
    assert len(verdicts(GOOD)) == 5


@pytest.mark.parametrize(
    ("worse", "missed"),
    [
        (
            replace(GOOD, systems=(DIRECT, replace(OURS, climbs=(Climb(999, ()),)))),
            ["lane streaming: most streams ≥ 1,000 (goal)"],
        ),
        (
            replace(GOOD, systems=(DIRECT, replace(OURS, climbs=(Climb(499, ()),)))),
            ["lane streaming: most streams ≥ 500 (floor)", "lane streaming: most streams ≥ 1,000 (goal)"],
        ),
        (
            replace(GOOD, systems=(DIRECT, replace(OURS, flows=(replace(FLOW, p99_ms=10.2),)))),
            ["lane streaming: added p99 ≤ 10 ms, 500 streams"],
        ),
        (
            replace(GOOD, streaming_bytes=90_001_000),
            ["lane streaming: memory of a stream ≤ 40 KB, 1,000 open"],
        ),
        (
            replace(GOOD, systems=(DIRECT, replace(OURS, flows=(replace(FLOW, failure="lost"),)))),
            ["lane streaming: no frame lost or reordered"],
        ),
    ],
)
def test_what_is_beyond_its_bound_is_missed_and_nothing_else(worse: LaneStreaming, missed: list[str]) -> None:
    assert [name for name, verdict in verdicts(worse).items() if verdict == "missed"] == missed
