"""Runs mutated cases through a proxy until something is found or enough were sent."""

import time
from collections.abc import Callable

from .experiment import Experiment, Finding
from .mutation import batches

LEAST_SHARE = 0.2
"""Of cases that pass and of those that are refused; with fewer of one kind a run shows little."""
PROGRESS_SECONDS = 5.0


async def fuzz(
    experiment: Experiment, seed: int, numbers: range, *, say: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Send the cases of these numbers; the findings of the first batch that has any."""
    began = said = time.monotonic()
    for cases in batches(seed, numbers):
        if found := await experiment.run(cases):
            return found
        now = time.monotonic()
        if now - said > PROGRESS_SECONDS:
            said = now
            say(f"{experiment.shares}, {experiment.shares.cases / (now - began):.0f} a second")
    return []


def has_enough_of_both(experiment: Experiment) -> bool:
    """Whether enough cases passed, and enough were refused, for a run to show something."""
    shares = experiment.shares
    return 0 < LEAST_SHARE * shares.cases <= min(shares.passed, shares.refused)
