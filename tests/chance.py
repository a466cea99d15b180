"""Chance that can be repeated, and how much of it: the profile `long` of hypothesis asks for more."""

import os
import secrets
from random import Random

from hypothesis import settings


def seeded(more: object = "") -> Random:
    """Chance from SEED=…, which is printed; `more` tells several from each other."""
    seed = os.environ.get("SEED") or str(secrets.randbits(32))
    print(f"SEED={seed}")  # noqa: T201 - pytest shows it beside a failure
    return Random(f"{seed}/{more}")  # noqa: S311 - chance that can be repeated


def as_many(usual: int, at_length: int) -> int:
    """How often, in `make test` and in `make test-long`."""
    return at_length if settings.get_current_profile_name() == "long" else usual
