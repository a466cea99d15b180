from dataclasses import replace

import pytest

from bench.footprint_report import Footprint, Weight

GOOD = Footprint(
    version="1.0",
    ready_seconds=(0.9, 0.5, 2.0),
    idle_bytes=50_000_000,
    streams=2000,
    streaming_bytes=98_000_000,
    early=Weight(21_000, 52_000_000),
    late=Weight(201_000, 54_000_000),
    image="proxy over base",
    image_bytes=80_000_000,
)


def verdicts(footprint: Footprint) -> dict[str, str]:
    return {mark.name: mark.verdict for mark in footprint.marks()}


def test_everything_within_its_bounds_is_held() -> None:
    assert set(verdicts(GOOD).values()) == {"held"}
    assert len(verdicts(GOOD)) == 5


@pytest.mark.parametrize(
    ("heavier", "mark"),
    [
        (replace(GOOD, idle_bytes=60_000_001), "memory: idle ≤ 60 MB"),
        (replace(GOOD, streaming_bytes=98_002_000), "memory: an open stream ≤ 24 KB, 2,000 open"),
        (replace(GOOD, late=Weight(201_000, 54_700_000)), "memory: after 201,000 requests ≤ 5 % above 21,000"),
        (replace(GOOD, ready_seconds=(1.1, 1.2, 0.5)), "start to ready ≤ 1 s"),
        (replace(GOOD, image_bytes=80_100_000), "image over its base ≤ 80 MB"),
    ],
)
def test_what_is_beyond_its_bound_is_missed_and_nothing_else(heavier: Footprint, mark: str) -> None:
    assert [name for name, verdict in verdicts(heavier).items() if verdict == "missed"] == [mark]


def test_without_an_image_its_mark_is_skipped_with_the_reason() -> None:
    without = replace(GOOD, image="", image_bytes=None, image_skipped="no container engine answers")
    assert str(without.marks()[-1]) == "skipped  image over its base ≤ 80 MB  no container engine answers"


def test_the_table_says_both_kinds_of_megabytes() -> None:
    assert "50.0 MB" in GOOD.table()
    assert "47.7 MiB" in GOOD.table()
