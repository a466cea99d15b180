"""Streams through one hop: flows in, a table and marks out. Pure: knows no clock, no process and no file.

A flow is a number of streams that send frames at one rate for a while. Lateness is the time from the source's handing
a frame to the kernel until the reader has it whole. What a hop adds is its p99 of lateness less that of the direct way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from bench import tables
from bench.marks import MILLISECONDS, TIMES, Mark, at_least, at_most, no_figure_for

OURS, DIRECT = "switchboard", "direct"
ADDED_THAN_NGINX, ADDED_ALLOWANCE_MS = 2.0, 1.0
STREAMS_THAN_CADDY = 1.0
LATE_MS = 50.0
"""A number of streams holds while nothing is lost and this is not reached by the p99 of lateness."""
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

    def holds(self) -> bool:
        """Whether this number of streams was carried in time, by a source that was in time itself."""
        return not self.failure and self.p99_ms < LATE_MS and self.source_p99_ms < SOURCE_LATE_MS


@dataclass(frozen=True)
class Climb:
    """One search for the largest number of streams that holds, with everything it tried."""

    most: int
    tries: tuple[Flow, ...]


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


@dataclass(frozen=True)
class Figures:
    """Medians over the rounds of one system: lateness of its good flows, None without any; and its climbs."""

    p50_ms: float | None
    p99_ms: float | None
    worst_ms: float | None
    most_streams: float


def figures(measured: Measured | None) -> Figures | None:
    """The medians, or None when nothing was measured. A flow that failed once has no lateness to be proud of."""
    if measured is None or not measured.climbs:
        return None
    flows = measured.flows if not measured.failures() else ()
    return Figures(
        p50_ms=_median(flow.p50_ms for flow in flows),
        p99_ms=_median(flow.p99_ms for flow in flows),
        worst_ms=max((flow.worst_ms for flow in flows), default=None),
        most_streams=median(climb.most for climb in measured.climbs),
    )


@dataclass(frozen=True)
class Streaming:
    """The whole comparison, in the order of measuring."""

    systems: tuple[Measured, ...]

    def figures(self) -> dict[str, Figures | None]:
        """Each system's medians, by its name."""
        return {measured.name: figures(measured) for measured in self.systems}

    def is_complete(self) -> bool:
        """Whether everything that ran has figures."""
        return all(figures(measured) for measured in self.systems if not measured.skipped)

    def table(self) -> str:
        """A line per system."""
        head = ["system", "late p50", "late p99", "worst", "added p99", "frames", "most streams at 20 frames/s"]
        by_name = self.figures()
        return tables.markdown(head, *(_row(measured, by_name) for measured in self.systems))

    def notes(self) -> list[str]:
        """What the table cannot say: why a system has no figure, what failed, and where the load was the limit."""
        by_name = self.figures()
        said = [f"{m.name}: {reason}" for m in self.systems for reason in filter(None, [m.skipped, *m.failures()])]
        roof = by_name.get(DIRECT)
        near = [
            name
            for name, seen in by_name.items()
            if roof and seen and name != DIRECT and seen.most_streams >= NEAR_ROOF * roof.most_streams
        ]
        if roof and near:
            said.append(
                f"the load itself holds {roof.most_streams:,.0f} streams without a hop: "
                f"the number for {' and '.join(near)} is what could be asked, and may be less than they hold"
            )
        return said

    def marks(self) -> list[Mark]:
        """The promises about lost frames, lateness and the number of streams."""
        by_name = self.figures()
        return [self._lossless_mark(), _added_mark(by_name), _streams_mark(by_name)]

    def _lossless_mark(self) -> Mark:
        name = "streaming: no frame lost or reordered"
        ours = next((measured for measured in self.systems if measured.name == OURS), None)
        if ours is None or not ours.flows:
            return Mark("skipped", name, no_figure_for(**{OURS: None}))
        if failures := ours.failures():
            return Mark("missed", name, failures[0])
        return Mark("held", name, f"{sum(flow.frames for flow in ours.flows):,} frames")


def added_ms(seen: Figures | None, direct: Figures | None) -> float | None:
    """What a hop adds to the p99 of lateness; None where one of both has none."""
    if seen is None or direct is None or seen.p99_ms is None or direct.p99_ms is None:
        return None
    return max(0.0, seen.p99_ms - direct.p99_ms)


def _added_mark(by_name: Mapping[str, Figures | None]) -> Mark:
    name = f"streaming: added p99 ≤ {ADDED_THAN_NGINX:g}× nginx + {ADDED_ALLOWANCE_MS:g} ms"
    direct = by_name.get(DIRECT)
    ours, theirs = added_ms(by_name.get(OURS), direct), added_ms(by_name.get("nginx"), direct)
    if ours is None or theirs is None:
        return Mark("skipped", name, no_figure_for(**{OURS: ours, "nginx": theirs}))
    allowed = ADDED_THAN_NGINX * theirs + ADDED_ALLOWANCE_MS
    mark = at_most(name, ours, allowed, MILLISECONDS)
    return Mark(mark.verdict, mark.name, f"{mark.figure} of {allowed:.2f} ms")


def _streams_mark(by_name: Mapping[str, Figures | None]) -> Mark:
    ours, theirs = by_name.get(OURS), by_name.get("Caddy")
    times = ours.most_streams / theirs.most_streams if ours and theirs and theirs.most_streams else None
    name = f"streaming: most streams ≥ {STREAMS_THAN_CADDY:g}× Caddy"
    return at_least(name, times, STREAMS_THAN_CADDY, TIMES, lacking=no_figure_for(**{OURS: ours, "Caddy": theirs}))


def _median(values: Iterable[float]) -> float | None:
    there = list(values)
    return median(there) if there else None


def _row(measured: Measured, by_name: Mapping[str, Figures | None]) -> list[str]:
    name = f"{measured.name} {measured.version}".strip()
    seen = by_name[measured.name]
    if seen is None:
        return [name, "skipped" if measured.skipped else "failed", "", "", "", "", ""]
    added = added_ms(seen, by_name.get(DIRECT))
    return [
        name,
        *(_milliseconds(value) for value in (seen.p50_ms, seen.p99_ms, seen.worst_ms)),
        "" if measured.name == DIRECT else _milliseconds(added),
        "lost" if measured.failures() else f"{sum(flow.frames for flow in measured.flows):,}",
        f"{seen.most_streams:,.0f}",
    ]


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} ms"
