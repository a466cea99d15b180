"""The harness finds a proxy with a defect, whichever it is; and nothing where nothing is wrong."""

import pytest

from .careless_proxy import DEFECTS, careless_proxy
from .fuzz import fuzz, has_enough_of_both
from .mutation import batches

SEED = 5
ENOUGH = 3000
"""Cases within which each defect is found; a good proxy passes as many."""
SETTLE_SECONDS = 0.3
"""A defect may leave cases without an answer; those are not what is looked for here."""


@pytest.mark.parametrize("defect", DEFECTS)
async def test_a_defect_is_found(defect: str) -> None:
    async with careless_proxy(DEFECTS[defect], SETTLE_SECONDS) as experiment:
        for cases in batches(SEED, range(ENOUGH)):
            found = await experiment.run(cases)
            if any(not finding.is_silence for finding in found):
                return
    raise AssertionError(f"nothing came out that should not, in {experiment.shares}")


async def test_nothing_is_found_where_nothing_is_wrong() -> None:
    async with careless_proxy(lambda data: data) as experiment:
        assert await fuzz(experiment, SEED, range(ENOUGH)) == []
        assert has_enough_of_both(experiment)
