"""One hop, non-streaming: the promises about it, judged by its rounds. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.marks import MILLISECONDS, TIMES, Mark, at_least, at_most, no_figure_for
from bench.rounds import OURS, ROOF, Figures, Rounds, added_ms, ratio

RATIOS = {"Caddy": 1.5, "nginx": 0.4, "yardstick": 40}
"""How many times the requests/s of a system ours shall be."""
ADDED_THAN_CADDY = 1.2
"""How many times what Caddy adds to the p50 of one connection ours may add."""


@dataclass(frozen=True)
class OneHop(Rounds):
    """Our proxy beside those people pick."""

    def marks(self) -> list[Mark]:
        """The promises about requests/s, and about what is added to one connection alone."""
        by_name = self.figures()
        return [*ratio_marks("one hop", by_name, RATIOS), _added_mark(by_name)]


def ratio_marks(part: str, by_name: Mapping[str, Figures | None], ratios: Mapping[str, float]) -> list[Mark]:
    """A mark for every system that ours shall be so many times as fast as."""
    ours = by_name.get(OURS)
    return [
        at_least(
            f"{part}: requests/s ≥ {bound:g}× {than}",
            ratio(ours, by_name.get(than)),
            bound,
            TIMES,
            lacking=no_figure_for(**{OURS: ours, than: by_name.get(than)}),
        )
        for than, bound in ratios.items()
    ]


def _added_mark(by_name: Mapping[str, Figures | None]) -> Mark:
    roof = by_name.get(ROOF)
    ours, caddy = added_ms(by_name.get(OURS), roof), added_ms(by_name.get("Caddy"), roof)
    name = f"one hop: p50 added to one connection ≤ {ADDED_THAN_CADDY:g}× Caddy"
    if ours is None or caddy is None:
        return Mark("skipped", name, no_figure_for(**{who: by_name.get(who) for who in (OURS, "Caddy", ROOF)}))
    allowed = ADDED_THAN_CADDY * caddy
    mark = at_most(name, ours, allowed, MILLISECONDS)
    return Mark(mark.verdict, mark.name, f"{mark.figure} of {allowed:.3f} ms")
