"""Whether a peer is worth a connect. Pure: the time is an argument, in seconds of any clock that only rises.

Only what the network says counts: a connect that failed or timed out, and a connect that came through. Whoever looks at
the peer again and again reports here too, so a machine that stays away stays refused, and one that is back is not.
"""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN_SECONDS = 15.0
"""How long a failure counts: longer than from one look at a peer that is away to the end of the next."""
PROBE_SECONDS = 10.0
"""How long one probe may take before the next one may go: longer than a connect may."""

State = Literal["closed", "open", "half-open"]


def _nobody() -> None:
    """Nobody wants to know."""


class Breaker:
    """Closed: turns pass. Open: they are refused. Half-open: one turn is on its way to find out.

    An open breaker becomes half-open only when nobody has looked for `OPEN_SECONDS`; else the looks are the probes, and
    no turn waits for a connect to a machine that is away.
    """

    def __init__(self) -> None:
        self.state: State = "closed"
        self.opened: Callable[[], None] = _nobody
        """Called when it opens, so that somebody looks at the peer at once."""
        self._until = 0.0

    def is_away(self, now: float) -> bool:
        """Whether `refuses` would say so; asking this makes nobody a probe."""
        return self.state != "closed" and now < self._until

    def refuses(self, now: float) -> bool:
        """Whether a turn must not go there now. False from a breaker that is not closed makes the caller its probe."""
        if self.is_away(now):
            return True
        if self.state != "closed":
            self.state = "half-open"
            self._until = now + PROBE_SECONDS
        return False

    def failed(self, now: float) -> None:
        """A connect failed."""
        was = self.state
        self.state = "open"
        self._until = now + OPEN_SECONDS
        if was == "closed":
            self.opened()

    def succeeded(self) -> None:
        """A connect came through."""
        self.state = "closed"
