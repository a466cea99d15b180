"""Marks: a bound, the figure that was measured, and whether it is held. Pure.

A figure is always rounded to its own disadvantage: rounded the other way, a missed mark would read like a held one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal

Verdict = Literal["held", "missed", "skipped"]


@dataclass(frozen=True)
class Mark:
    """One promise as a bench found it."""

    verdict: Verdict
    name: str
    figure: str

    def __str__(self) -> str:
        return "  ".join((self.verdict, self.name, self.figure))


@dataclass(frozen=True)
class Unit:
    """How figures are shown: with how many places, and what stands behind them."""

    places: int
    sign: str

    def shown(self, value: float) -> str:
        """A bound, which is exact."""
        return (
            f"{value:,.{self.places}f}".rstrip("0").rstrip(".") + self.sign
            if self.places
            else f"{value:,.0f}{self.sign}"
        )

    def down(self, value: float) -> str:
        """A figure that has to be at least something."""
        return f"{floor(value * 10**self.places) / 10**self.places:,.{self.places}f}{self.sign}"

    def up(self, value: float) -> str:
        """A figure that has to be at most something."""
        return f"{ceil(value * 10**self.places) / 10**self.places:,.{self.places}f}{self.sign}"


TIMES = Unit(2, "×")
MILLISECONDS = Unit(2, " ms")


def at_least(name: str, value: float | None, bound: float, unit: Unit, *, lacking: str = "") -> Mark:
    """The mark `name: ≥ bound`; `lacking` says why there is no value."""
    if value is None:
        return Mark("skipped", name, lacking)
    return Mark("held" if value >= bound else "missed", name, unit.down(value))


def at_most(name: str, value: float | None, bound: float, unit: Unit, *, lacking: str = "") -> Mark:
    """The mark `name: ≤ bound`; `lacking` says why there is no value."""
    if value is None:
        return Mark("skipped", name, lacking)
    return Mark("held" if value <= bound else "missed", name, unit.up(value))


def no_figure_for(**figures: object) -> str:
    """The words for a mark that lacks the figures of some systems: those that are None here."""
    return f"no figure for {' and '.join(name for name, figure in figures.items() if figure is None)}"


def table(marks: Iterable[Mark]) -> list[list[str]]:
    """Head and rows for `tables.markdown`."""
    return [["mark", "measured", ""], *([mark.name, mark.figure, mark.verdict] for mark in marks)]
