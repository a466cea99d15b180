"""Streams through one hop: the promises about them, judged by the flows. Pure."""

from dataclasses import dataclass

from bench.flows import OURS, Flows
from bench.marks import MILLISECONDS, TIMES, Mark, at_least, at_most, no_figure_for

ADDED_THAN_NGINX, ADDED_ALLOWANCE_MS = 2.0, 1.0
STREAMS_THAN_CADDY = 1.0
LATE_MS = 50.0
"""A number of streams holds while nothing is lost and this is not reached by the p99 of lateness."""


@dataclass(frozen=True)
class Streaming(Flows):
    """Our proxy beside those people pick."""

    def marks(self) -> list[Mark]:
        """The promises about lost frames, lateness and the number of streams."""
        return [self.lossless_mark("streaming"), self._added_mark(), self._streams_mark()]

    def _added_mark(self) -> Mark:
        name = f"streaming: added p99 ≤ {ADDED_THAN_NGINX:g}× nginx + {ADDED_ALLOWANCE_MS:g} ms"
        ours, theirs = self.added_ms(OURS), self.added_ms("nginx")
        if ours is None or theirs is None:
            return Mark("skipped", name, no_figure_for(**{OURS: ours, "nginx": theirs}))
        allowed = ADDED_THAN_NGINX * theirs + ADDED_ALLOWANCE_MS
        mark = at_most(name, ours, allowed, MILLISECONDS)
        return Mark(mark.verdict, mark.name, f"{mark.figure} of {allowed:.2f} ms")

    def _streams_mark(self) -> Mark:
        ours, theirs = (self.figures().get(name) for name in (OURS, "Caddy"))
        times = ours.most_streams / theirs.most_streams if ours and theirs and theirs.most_streams else None
        name = f"streaming: most streams ≥ {STREAMS_THAN_CADDY:g}× Caddy"
        return at_least(name, times, STREAMS_THAN_CADDY, TIMES, lacking=no_figure_for(**{OURS: ours, "Caddy": theirs}))
