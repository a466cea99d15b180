"""One turn to many peers: what was seen of it, a table and marks. Pure: knows no clock, no process and no file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from bench import tables
from bench.marks import MILLISECONDS, TIMES, Mark, at_most

LANES = (1, 4, 16, 64)
RACERS = 16
GROWTH = 1.2
"""How many times the processor time of a lane a lane of a turn with four times the lanes may take."""
FRAME_MS, FIRST_MS, END_MS = 10, 5, 20


@dataclass(frozen=True)
class Size:
    """Turns of one number of lanes in one round: medians of them, and the processor time of a lane."""

    lanes: int
    turns: int
    cpu_us: float
    frame_ms: float
    """From the question to the first frame."""
    whole_ms: float
    """From the question to the end."""


@dataclass(frozen=True)
class FanOut:
    """Everything seen of our coordinator."""

    version: str
    sizes: tuple[Size, ...]
    first_ms: tuple[float, ...]
    """How late, turn by turn, a client of `first` had the fastest peer's first text."""
    end_ms: tuple[float, ...]
    """How late, turn by turn, a client of `all` had the end after the slowest peer's."""

    def figures(self) -> dict[str, float]:
        """What the marks are judged by."""
        one, some, many = (self._size(lanes) for lanes in (LANES[0], LANES[-2], LANES[-1]))
        return {
            "growth": many.cpu_us / some.cpu_us,
            "frame_ms": many.frame_ms - one.frame_ms,
            "first_p50_ms": at_share(self.first_ms, 0.5),
            "first_p99_ms": at_share(self.first_ms, 0.99),
            "end_p50_ms": at_share(self.end_ms, 0.5),
            "end_p99_ms": at_share(self.end_ms, 0.99),
        }

    def is_complete(self) -> bool:
        """Everything here was measured, or the bench had stopped."""
        return True

    def table(self) -> str:
        """A line per number of lanes."""
        return tables.markdown(
            ["lanes", "turns", "CPU of a lane", "CPU of a turn", "first frame", "whole answer"],
            *(self._row(self._size(lanes)) for lanes in LANES),
        )

    def notes(self) -> list[str]:
        """What the modes add to what the peers do."""
        return [
            _late(f"first@ of {RACERS}, the fastest peer's first text", self.first_ms),
            _late(f"all@ of {RACERS}, the end after that of the slowest peer", self.end_ms),
        ]

    def marks(self) -> list[Mark]:
        """The promises about growth, and about what the modes add."""
        seen = self.figures()
        return [
            at_most(
                f"fan-out: CPU of a lane, {LANES[-1]} lanes ≤ {GROWTH:g}× {LANES[-2]}", seen["growth"], GROWTH, TIMES
            ),
            at_most(
                f"fan-out: first frame, {LANES[-1]} lanes ≤ {LANES[0]} + {FRAME_MS} ms",
                seen["frame_ms"],
                FRAME_MS,
                MILLISECONDS,
            ),
            at_most(
                f"fan-out: first@ of {RACERS}, p99 added ≤ {FIRST_MS} ms", seen["first_p99_ms"], FIRST_MS, MILLISECONDS
            ),
            at_most(
                f"fan-out: all@ of {RACERS}, p99 after the slowest ≤ {END_MS} ms",
                seen["end_p99_ms"],
                END_MS,
                MILLISECONDS,
            ),
        ]

    def _size(self, lanes: int) -> Size:
        """Medians over the rounds."""
        seen = [size for size in self.sizes if size.lanes == lanes]
        return Size(
            lanes,
            sum(size.turns for size in seen),
            median(size.cpu_us for size in seen),
            median(size.frame_ms for size in seen),
            median(size.whole_ms for size in seen),
        )

    def _row(self, size: Size) -> list[str]:
        return [
            f"{size.lanes}",
            f"{size.turns:,}",
            f"{size.cpu_us:,.0f} µs",
            f"{size.cpu_us * size.lanes / 1e3:,.2f} ms",
            f"{size.frame_ms:.2f} ms",
            f"{size.whole_ms:.2f} ms",
        ]


def _late(what: str, late_ms: Sequence[float]) -> str:
    p50, p99, worst = (f"{at_share(late_ms, share):.2f}" for share in (0.5, 0.99, 1.0))
    return f"{what}: late by {p50} ms (p50), {p99} ms (p99), {worst} ms at worst of {len(late_ms)} turns"


def at_share(values: Iterable[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(1, ceil(len(ordered) * share)) - 1]
