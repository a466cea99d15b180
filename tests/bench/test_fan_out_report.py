from dataclasses import replace

import pytest

from bench.fan_out_report import FanOut, Size, at_share


def size(lanes: int, *, cpu_us: float = 200.0, frame_ms: float = 1.0) -> Size:
    return Size(lanes, turns=10, cpu_us=cpu_us, frame_ms=frame_ms, whole_ms=3.0)


GOOD = FanOut(
    version="1.0",
    sizes=(size(1, cpu_us=700), size(4), size(16, cpu_us=200), size(64, cpu_us=240, frame_ms=11.0)),
    first_ms=(5.0,) * 100,
    end_ms=(20.0,) * 100,
)


def verdicts(seen: FanOut) -> dict[str, str]:
    return {mark.name: mark.verdict for mark in seen.marks()}


def test_everything_within_its_bounds_is_held() -> None:
    assert set(verdicts(GOOD).values()) == {"held"}
    assert len(verdicts(GOOD)) == 4


@pytest.mark.parametrize(
    ("worse", "mark"),
    [
        (replace(GOOD, sizes=(*GOOD.sizes[:3], size(64, cpu_us=241))), "fan-out: CPU of a lane, 64 lanes ≤ 1.2× 16"),
        (
            replace(GOOD, sizes=(*GOOD.sizes[:3], size(64, frame_ms=11.1))),
            "fan-out: first frame, 64 lanes ≤ 1 + 10 ms",
        ),
        (replace(GOOD, first_ms=(0.1,) * 98 + (5.1,) * 2), "fan-out: first@ of 16, p99 added ≤ 5 ms"),
        (replace(GOOD, end_ms=(0.1,) * 98 + (20.1,) * 2), "fan-out: all@ of 16, p99 after the slowest ≤ 20 ms"),
    ],
)
def test_what_is_beyond_its_bound_is_missed_and_nothing_else(worse: FanOut, mark: str) -> None:
    assert [name for name, verdict in verdicts(worse).items() if verdict == "missed"] == [mark]


def test_a_number_of_lanes_is_judged_by_the_median_of_its_rounds() -> None:
    three = replace(GOOD, sizes=(*GOOD.sizes, size(64, cpu_us=900), size(64, cpu_us=100)))
    assert three.figures()["growth"] == 240 / 200
    assert "| 64    |    30 |" in three.table()


def test_the_share_of_a_hundred_turns_leaves_the_worst_one_out() -> None:
    assert at_share([*range(99), 1000], 0.99) == 98
    assert at_share([3.0], 0.99) == 3.0
