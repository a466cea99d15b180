"""Rounds in, a table, marks and JSON out. Pure: knows no clock, no process and no file.

A round with an error in it is a failed round and gives no figure; a system is judged by the medians of its good rounds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from statistics import median
from typing import Literal

MANY, ONE = 16, 1
"""How many connections are kept busy: for requests/s, p50 and p99; and alone, for p50 without a queue."""

Verdict = Literal["held", "missed", "skipped"]


@dataclass(frozen=True)
class Round:
    """One load on one system. `failure` is empty when every answer was the expected one."""

    connections: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failure: str = ""


@dataclass(frozen=True)
class Measured:
    """Everything seen of one system. `skipped` says why there was nothing to see."""

    name: str
    version: str = ""
    rounds: Sequence[Round] = field(default_factory=tuple)
    memory_mb: float | None = None
    skipped: str = ""


@dataclass(frozen=True)
class Figures:
    """Medians over the good rounds of one system, and the slowest and fastest of them."""

    requests_per_second: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    p50_alone_ms: float


@dataclass(frozen=True)
class Mark:
    """A promise: `system` passes at least `factor` times the requests/s of `than`."""

    system: str
    factor: float
    than: str

    @property
    def name(self) -> str:
        """How the mark is called in the last lines of a bench."""
        return f"one hop: ≥ {self.factor:g}× {self.than}"


def figures(measured: Measured) -> Figures | None:
    """The medians, or None when no round of either kind went well."""
    many = [r for r in measured.rounds if r.connections == MANY and not r.failure]
    alone = [r for r in measured.rounds if r.connections == ONE and not r.failure]
    if not many or not alone:
        return None
    rates = [r.requests_per_second for r in many]
    return Figures(
        requests_per_second=median(rates),
        lowest=min(rates),
        highest=max(rates),
        p50_ms=median(r.p50_ms for r in many),
        p99_ms=median(r.p99_ms for r in many),
        p50_alone_ms=median(r.p50_ms for r in alone),
    )


def failures(measured: Measured) -> list[str]:
    """What went wrong in the failed rounds, each reason once."""
    return list(dict.fromkeys(r.failure for r in measured.rounds if r.failure))


def ratio(of: Figures | None, to: Figures | None) -> float | None:
    """How many times the requests/s of `to` those of `of` are; None where one of them has no figure."""
    return of.requests_per_second / to.requests_per_second if of and to else None


def judge(mark: Mark, by_name: Mapping[str, Figures | None]) -> tuple[Verdict, str]:
    """The verdict on one mark and its figure; `skipped` when one side of it has no figure."""
    times = ratio(by_name.get(mark.system), by_name.get(mark.than))
    if times is None:
        missing = [name for name in (mark.system, mark.than) if by_name.get(name) is None]
        return "skipped", f"no figure for {' and '.join(missing)}"
    shown = floor(times * 100) / 100  # rounded up, a missed mark would read like a held one
    return ("held" if times >= mark.factor else "missed"), f"{shown:.2f}×"


def mark_lines(marks: Sequence[Mark], systems: Sequence[Measured]) -> list[str]:
    """The last lines of a bench: verdict, name and figure, two blanks between."""
    by_name = {measured.name: figures(measured) for measured in systems}
    return ["  ".join((verdict, mark.name, figure)) for mark in marks for verdict, figure in [judge(mark, by_name)]]


def table(systems: Sequence[Measured], ours: str) -> str:
    """A Markdown table with a line per system; `ours` is the one the others are compared with in the last column."""
    head = ["system", "requests/s", "p50 at 16", "p99 at 16", "p50 alone", "memory", f"{ours} is"]
    reference = next((figures(measured) for measured in systems if measured.name == ours), None)
    rows = [head, *(_row(measured, reference) for measured in systems)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    ruler = [("-" * widths[0]), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], ruler, *lines[1:]])


def _row(measured: Measured, reference: Figures | None) -> list[str]:
    name = f"{measured.name} {measured.version}".strip()
    seen = figures(measured)
    if seen is None:
        return [name, "skipped" if measured.skipped else "failed", "", "", "", "", ""]
    times = ratio(reference, seen)
    return [
        name,
        f"{seen.requests_per_second:,.0f}",
        f"{seen.p50_ms:.2f} ms",
        f"{seen.p99_ms:.2f} ms",
        f"{seen.p50_alone_ms:.2f} ms",
        f"{measured.memory_mb:.0f} MB" if measured.memory_mb is not None else "",
        f"{times:.2f}×" if times is not None else "",
    ]


def as_json(
    systems: Sequence[Measured], marks: Sequence[Mark], machine: Mapping[str, object], *, quick: bool
) -> dict[str, object]:
    """The whole result as JSON values: the machine, every system with its medians and rounds, every mark."""
    by_name = {measured.name: figures(measured) for measured in systems}
    return {
        "bench": "one-hop",
        "quick": quick,
        "machine": dict(machine),
        "systems": [_system_json(measured, by_name) for measured in systems],
        "marks": [
            {"name": mark.name, "verdict": verdict, "figure": figure}
            for mark in marks
            for verdict, figure in [judge(mark, by_name)]
        ],
    }


def _system_json(measured: Measured, by_name: Mapping[str, Figures | None]) -> dict[str, object]:
    seen = by_name[measured.name]
    ratios = {name: times for name, other in by_name.items() if (times := ratio(seen, other)) is not None}
    return {
        "name": measured.name,
        "version": measured.version,
        "skipped": measured.skipped,
        "failures": failures(measured),
        "medians": vars(seen) if seen else None,
        "memory_mb": measured.memory_mb,
        "ratio_to": {name: round(times, 3) for name, times in ratios.items()},
        "rounds": [vars(r) for r in measured.rounds],
    }
