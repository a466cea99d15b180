"""One lane through a gateway, non-streaming: our coordinator beside the gateways people pick."""

from bench import gateways, interleaved
from bench.interleaved import Plan
from bench.rounds import Measured
from bench.single_lane_report import SingleLane

FULL = Plan(warm_seconds=6, many_seconds=4, alone_seconds=2)
"""Node compiles what it runs often: it doubles its speed within the first seconds."""
QUICK = Plan(warm_seconds=1, many_seconds=1, alone_seconds=1)
SLOW = "LiteLLM"
"""It takes as long to start as everything else in a quick run."""


def measure(*, quick: bool, rounds: int) -> SingleLane:
    """Run the whole comparison; what cannot be had is skipped. Raises CannotMeasure."""
    if not quick:
        return SingleLane(interleaved.measured(gateways.ALL, FULL, rounds))
    quick_ones = {name: system for name, system in gateways.ALL.items() if name != SLOW}
    upstream, *seen = interleaved.measured(quick_ones, QUICK, rounds)
    return SingleLane((upstream, Measured(SLOW, skipped="not in a quick run"), *seen))
