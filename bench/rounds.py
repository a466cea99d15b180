"""Rounds of load on systems side by side, and the medians that each is judged by. Pure.

A round with an error in it is a failed round and gives no figure; a system is judged by the medians of its good rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import ClassVar

from bench.comparison import Comparison

MANY, ONE = 16, 1
"""How many connections are kept busy: for requests/s, p50 and p99; and alone, for p50 without a queue."""
OTHERS_SHARE = 0.1
"""Where others had more than this of the core of a system, the round says nothing about it."""
ROOF = "upstream"
OURS = "switchboard"


@dataclass(frozen=True)
class Round:
    """One load on one system. `failure` is empty when every answer was the expected one."""

    connections: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failure: str = ""
    cpu_us: float | None = None
    """Processor time of the system for one request."""


def disturbed(seen: Round, others_share: float) -> Round:
    """The round, failed where others had too much of the core that was the system's alone."""
    if seen.failure or others_share <= OTHERS_SHARE:
        return seen
    return replace(seen, failure=f"others had {others_share:.0%} of the core: measure on an idle machine")


@dataclass(frozen=True)
class Figures:
    """Medians over the good rounds of one system, and the slowest and fastest of them."""

    requests_per_second: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    p50_alone_ms: float
    cpu_us: float | None
    memory_mb: float | None


@dataclass(frozen=True)
class Measured:
    """Everything seen of one system. `skipped` says why there was nothing to see."""

    name: str
    version: str = ""
    rounds: tuple[Round, ...] = ()
    memory_mb: float | None = None
    skipped: str = ""

    def failures(self) -> list[str]:
        """What went wrong in the failed rounds, each reason once."""
        return list(dict.fromkeys(r.failure for r in self.rounds if r.failure))

    def figures(self) -> Figures | None:
        """The medians, or None when no round of either kind went well."""
        rounds = [r for r in self.rounds if not r.failure]
        many = [r for r in rounds if r.connections == MANY]
        alone = [r for r in rounds if r.connections == ONE]
        if not many or not alone:
            return None
        rates = [r.requests_per_second for r in many]
        cpu_us = [r.cpu_us for r in many if r.cpu_us is not None]
        return Figures(
            requests_per_second=median(rates),
            lowest=min(rates),
            highest=max(rates),
            p50_ms=median(r.p50_ms for r in many),
            p99_ms=median(r.p99_ms for r in many),
            p50_alone_ms=median(r.p50_ms for r in alone),
            cpu_us=median(cpu_us) if cpu_us else None,
            memory_mb=self.memory_mb,
        )


@dataclass(frozen=True)
class Rounds(Comparison[Figures]):
    """A comparison by rounds; the marks are each report's own."""

    systems: tuple[Measured, ...]

    HEAD: ClassVar[Sequence[str]] = (
        "requests/s",
        "p50 at 16",
        "p99 at 16",
        "p50 alone",
        "CPU",
        "memory",
        f"{OURS} is",
    )

    def seen(self) -> Sequence[Measured]:
        """See `Comparison`."""
        return self.systems

    def cells(self, name: str, figures: Figures) -> list[str]:  # noqa: ARG002 - the shape of every comparison
        """The last column compares ours with it."""
        times = ratio(self.figures().get(OURS), figures)
        return [
            f"{figures.requests_per_second:,.0f}",
            f"{figures.p50_ms:.2f} ms",
            f"{figures.p99_ms:.2f} ms",
            f"{figures.p50_alone_ms:.3f} ms",
            "" if figures.cpu_us is None else f"{figures.cpu_us:,.0f} µs",
            "" if figures.memory_mb is None else f"{figures.memory_mb:.0f} MB",
            "" if times is None else f"{times:.2f}×",
        ]


def ratio(of: Figures | None, to: Figures | None) -> float | None:
    """How many times the requests/s of `to` those of `of` are; None where one of them has no figure."""
    return of.requests_per_second / to.requests_per_second if of and to else None


def added_ms(by: Figures | None, roof: Figures | None) -> float | None:
    """What a system adds to the p50 of one connection alone; None where one of both has no figure."""
    return by.p50_alone_ms - roof.p50_alone_ms if by and roof else None
