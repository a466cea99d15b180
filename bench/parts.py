"""The parts of the bench: what each measures, and the shape of its result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pydantic import TypeAdapter

from bench import fan_out, footprint, lane_streaming, one_hop, single_lane, streaming
from bench.fan_out_report import FanOut
from bench.footprint_report import Footprint
from bench.lane_streaming_report import LaneStreaming
from bench.marks import Mark
from bench.one_hop_report import OneHop
from bench.single_lane_report import SingleLane
from bench.streaming_report import Streaming


class Result(Protocol):
    """What a part measured: a dataclass that is written to JSON as it is, and tells everything else itself."""

    def table(self) -> str:
        """A table in Markdown."""

    def notes(self) -> list[str]:
        """Sentences below the table."""

    def marks(self) -> list[Mark]:
        """The promises, judged."""

    def figures(self) -> Mapping[str, object]:
        """What the marks are judged by."""

    def is_complete(self) -> bool:
        """Whether everything that ran has figures."""


@dataclass(frozen=True)
class Part:
    """One part: how it is measured, and how its result is read back from JSON."""

    measure: Callable[..., Result]
    shape: type[Result]

    def read(self, result: object) -> Result:
        """A result from its JSON values."""
        read: Result = TypeAdapter(self.shape).validate_python(result)
        return read


PARTS: Mapping[str, Part] = {
    "one-hop": Part(one_hop.measure, OneHop),
    "streaming": Part(streaming.measure, Streaming),
    "footprint": Part(footprint.measure, Footprint),
    "single-lane": Part(single_lane.measure, SingleLane),
    "lane-streaming": Part(lane_streaming.measure, LaneStreaming),
    "fan-out": Part(fan_out.measure, FanOut),
}
