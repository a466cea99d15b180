"""Flows of streams through systems side by side, and what each is judged by. Pure.

A flow is a number of streams that send frames at one rate for a while. Lateness is the time from the source's handing
a frame to the kernel until the reader has it whole. What a hop adds is its p99 of lateness less that of the direct way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import ClassVar

from bench.comparison import Comparison
from bench.marks import Mark, no_figure_for

OURS, DIRECT = "switchboard", "direct"
SOURCE_LATE_MS = 25.0
"""Where the source itself is later than this, the load is at its limit and the number cannot be asked."""
NEAR_ROOF = 0.8
"""From this share of what the direct way holds on, the load generator may be the limit."""


@dataclass(frozen=True)
class Flow:
    """One flow through one system. `failure` is empty when every frame arrived once, whole and in order."""

    streams: int
    frames_per_second: int
    seconds: float
    frames: int
    """How many arrived as they should."""
    p50_ms: float
    p99_ms: float
    worst_ms: float
    source_p99_ms: float
    """How far the source was behind its own clock."""
    failure: str = ""
    cpu_us: float | None = None
    """Processor time of the system for one frame, opening and end of the streams included."""

    def holds(self, late_ms: float) -> bool:
        """Whether it was carried whole, with less than this as the p99 of lateness, by a source in time itself."""
        return not self.failure and self.p99_ms < late_ms and self.source_p99_ms < SOURCE_LATE_MS


@dataclass(frozen=True)
class Climb:
    """One search for the largest number of streams that holds, with everything it tried."""

    most: int
    tries: tuple[Flow, ...]


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds of one system: lateness of its good flows, None without any; and its climbs."""

    p50_ms: float | None
    p99_ms: float | None
    worst_ms: float | None
    cpu_us: float | None
    most_streams: float


@dataclass(frozen=True)
class Measured:
    """Everything seen of one system. `skipped` says why there was nothing to see."""

    name: str
    version: str = ""
    flows: tuple[Flow, ...] = ()
    climbs: tuple[Climb, ...] = ()
    skipped: str = ""

    def failures(self) -> list[str]:
        """What went wrong in the flows, each reason once; not in a climb, which goes on until something does."""
        return list(dict.fromkeys(flow.failure for flow in self.flows if flow.failure))

    def figures(self) -> Figures | None:
        """The medians, or None when nothing was measured. A flow that failed once has no lateness to be proud of."""
        if not self.climbs:
            return None
        flows = self.flows if not self.failures() else ()
        return Figures(
            p50_ms=_median(flow.p50_ms for flow in flows),
            p99_ms=_median(flow.p99_ms for flow in flows),
            worst_ms=max((flow.worst_ms for flow in flows), default=None),
            cpu_us=_median(flow.cpu_us for flow in flows if flow.cpu_us is not None),
            most_streams=median(climb.most for climb in self.climbs),
        )


@dataclass(frozen=True)
class Flows(Comparison[Figures]):
    """A comparison by flows; the marks are each report's own."""

    systems: tuple[Measured, ...]

    HEAD: ClassVar[Sequence[str]] = (
        "late p50",
        "late p99",
        "worst",
        "added p99",
        "CPU",
        "frames",
        "most streams at 20 frames/s",
    )

    def seen(self) -> Sequence[Measured]:
        """See `Comparison`."""
        return self.systems

    def cells(self, name: str, figures: Figures) -> list[str]:
        """The direct way adds nothing to itself."""
        system = next(measured for measured in self.systems if measured.name == name)
        added = None if name == DIRECT else self.added_ms(name)
        return [
            *(_milliseconds(value) for value in (figures.p50_ms, figures.p99_ms, figures.worst_ms, added)),
            "" if figures.cpu_us is None else f"{figures.cpu_us:.1f} µs",
            "lost" if system.failures() else f"{sum(flow.frames for flow in system.flows):,}",
            f"{figures.most_streams:,.0f}",
        ]

    def notes(self) -> list[str]:
        """See `Comparison`; and where the load was the limit."""
        by_name = self.figures()
        roof = by_name.get(DIRECT)
        near = [
            name
            for name, seen in by_name.items()
            if roof and seen and name != DIRECT and seen.most_streams >= NEAR_ROOF * roof.most_streams
        ]
        if not roof or not near:
            return super().notes()
        limited = (
            f"the load itself holds {roof.most_streams:,.0f} streams without a hop: "
            f"the number for {' and '.join(near)} is what could be asked, and may be less than they hold"
        )
        return [*super().notes(), limited]

    def added_ms(self, name: str) -> float | None:
        """What this system adds to the p99 of lateness; None where it or the direct way has no figure."""
        by_name = self.figures()
        seen, direct = by_name.get(name), by_name.get(DIRECT)
        if seen is None or direct is None or seen.p99_ms is None or direct.p99_ms is None:
            return None
        return max(0.0, seen.p99_ms - direct.p99_ms)

    def lossless_mark(self, part: str) -> Mark:
        """Whether every frame came through ours in every round."""
        name = f"{part}: no frame lost or reordered"
        ours = next((measured for measured in self.systems if measured.name == OURS), None)
        if ours is None or not ours.flows:
            return Mark("skipped", name, no_figure_for(**{OURS: None}))
        if failures := ours.failures():
            return Mark("missed", name, failures[0])
        return Mark("held", name, f"{sum(flow.frames for flow in ours.flows):,} frames")


def _median(values: Iterable[float]) -> float | None:
    there = list(values)
    return median(there) if there else None


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ms"
