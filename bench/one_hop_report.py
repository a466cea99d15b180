"""One hop, non-streaming: rounds in, a table and marks out. Pure: knows no clock, no process and no file.

A round with an error in it is a failed round and gives no figure; a system is judged by the medians of its good rounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from bench import tables
from bench.marks import MILLISECONDS, TIMES, Mark, at_least, at_most, no_figure_for

MANY, ONE = 16, 1
"""How many connections are kept busy: for requests/s, p50 and p99; and alone, for p50 without a queue."""

OURS, ROOF = "switchboard", "upstream"
RATIOS = {"Caddy": 1.5, "nginx": 0.4, "yardstick": 40}
"""How many times the requests/s of a system ours shall be."""
ADDED_THAN_CADDY = 1.2
"""How many times what Caddy adds to the p50 of one connection ours may add."""


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
    rounds: tuple[Round, ...] = ()
    memory_mb: float | None = None
    skipped: str = ""

    def failures(self) -> list[str]:
        """What went wrong in the failed rounds, each reason once."""
        return list(dict.fromkeys(r.failure for r in self.rounds if r.failure))


@dataclass(frozen=True)
class Figures:
    """Medians over the good rounds of one system, and the slowest and fastest of them."""

    requests_per_second: float
    lowest: float
    highest: float
    p50_ms: float
    p99_ms: float
    p50_alone_ms: float


def figures(measured: Measured | None) -> Figures | None:
    """The medians, or None when no round of either kind went well."""
    rounds = [r for r in measured.rounds if not r.failure] if measured else []
    many = [r for r in rounds if r.connections == MANY]
    alone = [r for r in rounds if r.connections == ONE]
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


@dataclass(frozen=True)
class OneHop:
    """The whole comparison, in the order of measuring."""

    systems: tuple[Measured, ...]

    def figures(self) -> dict[str, Figures | None]:
        """Each system's medians, by its name."""
        return {measured.name: figures(measured) for measured in self.systems}

    def is_complete(self) -> bool:
        """Whether everything that ran has figures."""
        return all(figures(measured) for measured in self.systems if not measured.skipped)

    def table(self) -> str:
        """A line per system; the last column compares ours with it."""
        head = ["system", "requests/s", "p50 at 16", "p99 at 16", "p50 alone", "memory", f"{OURS} is"]
        by_name = self.figures()
        return tables.markdown(head, *(_row(measured, by_name) for measured in self.systems))

    def notes(self) -> list[str]:
        """What the table cannot say: why a system has no figure, and what failed."""
        return [f"{m.name}: {reason}" for m in self.systems for reason in filter(None, [m.skipped, *m.failures()])]

    def marks(self) -> list[Mark]:
        """The promises about requests/s, and about what is added to one connection alone."""
        by_name = self.figures()
        return [*(_ratio_mark(by_name, than, bound) for than, bound in RATIOS.items()), _added_mark(by_name)]


def ratio(of: Figures | None, to: Figures | None) -> float | None:
    """How many times the requests/s of `to` those of `of` are; None where one of them has no figure."""
    return of.requests_per_second / to.requests_per_second if of and to else None


def _ratio_mark(by_name: Mapping[str, Figures | None], than: str, bound: float) -> Mark:
    ours, theirs = by_name.get(OURS), by_name.get(than)
    lacking = no_figure_for(**{OURS: ours, than: theirs})
    return at_least(f"one hop: requests/s ≥ {bound:g}× {than}", ratio(ours, theirs), bound, TIMES, lacking=lacking)


def _added_mark(by_name: Mapping[str, Figures | None]) -> Mark:
    ours, caddy, roof = by_name.get(OURS), by_name.get("Caddy"), by_name.get(ROOF)
    name = f"one hop: p50 added to one connection ≤ {ADDED_THAN_CADDY:g}× Caddy"
    if not (ours and caddy and roof):
        return Mark("skipped", name, no_figure_for(**{OURS: ours, "Caddy": caddy, ROOF: roof}))
    allowed = ADDED_THAN_CADDY * (caddy.p50_alone_ms - roof.p50_alone_ms)
    mark = at_most(name, ours.p50_alone_ms - roof.p50_alone_ms, allowed, MILLISECONDS)
    return Mark(mark.verdict, mark.name, f"{mark.figure} of {allowed:.3f} ms")


def _row(measured: Measured, by_name: Mapping[str, Figures | None]) -> list[str]:
    name = f"{measured.name} {measured.version}".strip()
    seen = by_name[measured.name]
    if seen is None:
        return [name, "skipped" if measured.skipped else "failed", "", "", "", "", ""]
    times = ratio(by_name.get(OURS), seen)
    return [
        name,
        f"{seen.requests_per_second:,.0f}",
        f"{seen.p50_ms:.2f} ms",
        f"{seen.p99_ms:.2f} ms",
        f"{seen.p50_alone_ms:.3f} ms",
        f"{measured.memory_mb:.0f} MB" if measured.memory_mb is not None else "",
        f"{times:.2f}×" if times is not None else "",
    ]
