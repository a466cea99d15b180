"""One lane through a gateway, non-streaming: the promises about it, judged by its rounds. Pure."""

from dataclasses import dataclass

from bench.marks import MILLISECONDS, Mark, at_most, no_figure_for
from bench.one_hop_report import ratio_marks
from bench.rounds import OURS, ROOF, Rounds, added_ms

RATIOS = {"Portkey": 3, "LiteLLM": 20}
"""How many times the requests/s of a gateway ours shall be."""
ADDED_MS = 1


@dataclass(frozen=True)
class SingleLane(Rounds):
    """Our coordinator, its journal on, beside the gateways people pick."""

    def marks(self) -> list[Mark]:
        """The promises about requests/s, and about what is added to one connection alone."""
        by_name = self.figures()
        ours, roof = by_name.get(OURS), by_name.get(ROOF)
        return [
            *ratio_marks("single lane", by_name, RATIOS),
            at_most(
                f"single lane: p50 added to one connection ≤ {ADDED_MS} ms",
                added_ms(ours, roof),
                ADDED_MS,
                MILLISECONDS,
                lacking=no_figure_for(**{OURS: ours, ROOF: roof}),
            ),
        ]
