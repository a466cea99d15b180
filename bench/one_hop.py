"""One proxy hop, non-streaming: our proxy beside those people pick."""

from bench import interleaved, systems
from bench.interleaved import Plan
from bench.one_hop_report import OneHop

FULL = Plan(warm_seconds=3, many_seconds=4, alone_seconds=2)
QUICK = Plan(warm_seconds=1, many_seconds=1, alone_seconds=1)


def measure(*, quick: bool, rounds: int) -> OneHop:
    """Run the whole comparison; what the distribution does not have is skipped. Raises CannotMeasure."""
    return OneHop(interleaved.measured(systems.ALL, QUICK if quick else FULL, rounds))
