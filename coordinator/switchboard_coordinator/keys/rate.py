"""How many turns a consumer may still open. Pure; times are monotonic seconds.

A consumer may open as many turns at once as its key allows in a minute; each comes back a minute's share later.
"""

import math
from dataclasses import dataclass
from typing import Final

MINUTE_SECONDS: Final = 60.0
_ROUNDING: Final = 1e-6
"""Who waits as long as told is let through, however the shares added up."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What is left after a turn was asked for. Seconds are whole, rounded up."""

    is_allowed: bool
    limit: int
    remaining: int
    reset_seconds: int
    """Until all of `limit` is there again."""
    retry_after_seconds: int
    """Until one is there."""


class Rates:
    """Counts for every consumer that has a rate; its keys count together."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # consumer → turns left, and when that was so

    def take(self, consumer: str, per_minute: int, now: float) -> Allowance:
        """Open one turn, if one is left."""
        left, since = self._left.get(consumer, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / MINUTE_SECONDS)
        is_allowed = left > 1 - _ROUNDING
        left = max(0.0, left - 1) if is_allowed else left
        self._left[consumer] = (left, now)
        each = MINUTE_SECONDS / per_minute
        return Allowance(
            is_allowed,
            limit=per_minute,
            remaining=int(left),
            reset_seconds=math.ceil((per_minute - left) * each),
            retry_after_seconds=max(1, math.ceil((1 - left) * each)),
        )
