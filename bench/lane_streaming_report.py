"""Streams through our coordinator: the promises about them, judged by the flows and by what a stream weighs. Pure."""

from dataclasses import dataclass

from bench.flows import OURS, Flows
from bench.marks import MILLISECONDS, Mark, Unit, at_least, at_most, no_figure_for

WITH_PROXY = "with proxy"
LATE_MS = 10.0
FLOOR_STREAMS, GOAL_STREAMS = 500, 1000
STREAM_KB = 40
STREAMS, KB = Unit(0, ""), Unit(1, " KB")


@dataclass(frozen=True)
class LaneStreaming(Flows):
    """Our coordinator, its journal on: alone, and with our proxy on the same core."""

    weighed_streams: int
    idle_bytes: int
    streaming_bytes: int
    """With so many streams open, each of which has carried some frames."""

    def stream_kb(self) -> float:
        """What one open stream costs, in 1,000 bytes."""
        return (self.streaming_bytes - self.idle_bytes) / self.weighed_streams / 1e3

    def _flow_streams(self) -> int:
        return next((flow.streams for measured in self.systems for flow in measured.flows), 0)

    def notes(self) -> list[str]:
        """See `Comparison`; and the memory."""
        idle, open_ = self.idle_bytes / 1e6, self.streaming_bytes / 1e6
        return [*super().notes(), f"memory: {idle:.1f} MB idle, {open_:.1f} MB with {self.weighed_streams:,} streams"]

    def marks(self) -> list[Mark]:
        """The promises about lost frames, lateness, the number of streams and memory."""
        ours = self.figures().get(OURS)
        most = ours.most_streams if ours else None
        lacking = no_figure_for(**{OURS: None})
        return [
            self.lossless_mark("lane streaming"),
            at_most(
                f"lane streaming: added p99 ≤ {LATE_MS:g} ms, {self._flow_streams()} streams",
                self.added_ms(OURS),
                LATE_MS,
                MILLISECONDS,
                lacking=lacking,
            ),
            *(
                at_least(f"lane streaming: most streams ≥ {bound:,} ({which})", most, bound, STREAMS, lacking=lacking)
                for which, bound in (("floor", FLOOR_STREAMS), ("goal", GOAL_STREAMS))
            ),
            at_most(
                f"lane streaming: memory of a stream ≤ {STREAM_KB} KB, {self.weighed_streams:,} open",
                self.stream_kb(),
                STREAM_KB,
                KB,
            ),
        ]
