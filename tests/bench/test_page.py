import json

import pytest

from bench.fan_out_report import LANES, FanOut, Size
from bench.flows import Climb, Flow
from bench.flows import Measured as Streamed
from bench.footprint_report import Footprint, Weight
from bench.lane_streaming_report import LaneStreaming
from bench.one_hop_report import OneHop
from bench.page import PAGE, filled, read_records
from bench.parts import Result
from bench.record import Record
from bench.rounds import MANY, ONE, Measured, Round
from bench.single_lane_report import SingleLane
from bench.streaming_report import Streaming

FLOW = Flow(256, 50, 20, frames=10, p50_ms=0.5, p99_ms=3.0, worst_ms=9.0, source_p99_ms=1.0, failure="x")
ROUNDS = (Measured("nginx", "1", (Round(MANY, 5, 1, 2, cpu_us=3), Round(ONE, 5, 1, 2)), 3.5), Measured("Caddy"))
FLOWS = (Streamed("nginx", "1", (FLOW,), (Climb(7, (FLOW,)),)), Streamed("Caddy", skipped="no"))
RESULTS: dict[str, Result] = {
    "one-hop": OneHop(ROUNDS),
    "streaming": Streaming(FLOWS),
    "footprint": Footprint("1", (0.5,), 1, 2, 3, Weight(4, 5), Weight(6, 7), image_skipped="no"),
    "single-lane": SingleLane(ROUNDS),
    "lane-streaming": LaneStreaming(FLOWS, 5, 6, 7),
    "fan-out": FanOut("1", tuple(Size(lanes, 2, 3.0, 4.0, 5.0) for lanes in LANES), (1.0,), (2.0,)),
}


@pytest.mark.parametrize("part", RESULTS)
def test_a_record_comes_back_from_its_json_as_it_was(part: str) -> None:
    record = Record(part, quick=True, rounds=3, machine={"cores": 2}, result=RESULTS[part])
    written = json.loads(json.dumps(record.as_json()))
    assert Record.from_json(written) == record
    assert [mark["name"] for mark in written["marks"]] == [mark.name for mark in record.result.marks()]
    assert set(written["figures"]) == set(record.result.figures())


def test_a_block_of_the_page_is_written_from_its_record_and_the_rest_stays() -> None:
    record = Record("footprint", quick=False, rounds=3, machine={"cores": 2}, result=RESULTS["footprint"])
    page = "before\n<!-- footprint -->\nold figures\n<!-- end -->\nafter\n"
    written = filled(page, {"footprint": record})
    assert written.startswith("before\n<!-- footprint -->\n")
    assert written.endswith("<!-- end -->\nafter\n")
    assert "old figures" not in written
    assert record.result.table() in written
    assert all(mark.name in written for mark in record.result.marks())
    assert "3 rounds; cores: 2" in written
    assert filled(written, {"footprint": record}) == written


def test_the_page_of_this_repository_says_what_its_results_say() -> None:
    page = PAGE.read_text()
    assert all(f"<!-- {part} -->" in page for part in RESULTS)
    assert filled(page, read_records()) == page, "run: python -m bench.page"
