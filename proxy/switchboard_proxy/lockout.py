"""How long an address whose credentials are wrong has to wait, and which of them is worth a line in the log. Pure.

A right credential never asks here before it passes: all turns of a fleet come from one coordinator, and nothing that
others send under its address may keep it out. So a lockout only makes guessing slow; it hurts no caller that knows.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

WRONG_ONES: Final = 10
"""So many wrong credentials of one address within `WINDOW_SECONDS` get an ordinary 401; the next are locked out."""
WINDOW_SECONDS: Final = 60.0
FIRST_SECONDS: Final = 1
LONGEST_SECONDS: Final = 3600
REMEMBERED_SECONDS: Final = 3600.0
"""So long after its end a lockout is doubled by the next one."""
LINE_SECONDS: Final = 60.0
ADDRESSES: Final = 4096
"""As many addresses are known at once; a new one takes the place of that which was wrong least recently."""

_TAILNET = "fd7a:115c:a1e0:"
_LONGEST_TEXT = 45
"""Characters of the longest way to write an IPv6 address; what is longer is none and must not fill the memory."""


class Refusal(NamedTuple):
    """What becomes of one wrong credential."""

    retry_after_seconds: int | None
    """For 429 `locked_out`; None is an ordinary 401."""
    is_told: bool
    """Whether it gets a line in the log: the first of its address does, then at most one in `LINE_SECONDS`."""
    untold: int
    """How many went without a line since the last one; of a new address in a full table also those it displaced."""


class _Guesser:
    """What is known of one address."""

    __slots__ = ("locked_until", "next_seconds", "told_at", "untold", "wrong_at")

    def __init__(self, told_at: float, untold: int) -> None:
        self.wrong_at: list[float] = []  # a deque takes 600 bytes more
        self.locked_until = float("-inf")
        self.next_seconds = FIRST_SECONDS
        self.told_at, self.untold = told_at, untold


class Lockout:
    """Counts wrong credentials for each address, in a table that does not grow.

    After `WRONG_ONES` in a window the next wrong one is told to wait `FIRST_SECONDS`. Each wrong one that does not
    wait is told to wait twice as long, from then on, up to `LONGEST_SECONDS`. After a lockout the address has its
    `WRONG_ONES` again; the lockout after them is twice as long as the one before, until that is forgotten.

    Every call takes the same short time however many addresses there are. `now` is monotonic, in seconds.
    """

    def __init__(self) -> None:
        self._guessers: OrderedDict[str, _Guesser] = OrderedDict()

    def __len__(self) -> int:
        return len(self._guessers)

    def wrong(self, address: str, now: float) -> Refusal:
        """Count one wrong credential. A missing one is not to be counted."""
        guesser = self._guesser(_counted_as(address))
        retry_after = None
        if now < guesser.locked_until:
            retry_after = _lock(guesser, now)
        else:
            wrong_at = guesser.wrong_at
            if now - guesser.locked_until >= REMEMBERED_SECONDS:
                guesser.next_seconds = FIRST_SECONDS
            while wrong_at and now - wrong_at[0] >= WINDOW_SECONDS:
                del wrong_at[0]
            if len(wrong_at) == WRONG_ONES:
                wrong_at.clear()
                retry_after = _lock(guesser, now)
            else:
                wrong_at.append(now)
        if now - guesser.told_at < LINE_SECONDS:
            guesser.untold += 1
            return Refusal(retry_after, False, guesser.untold)
        untold, guesser.untold, guesser.told_at = guesser.untold, 0, now
        return Refusal(retry_after, True, untold)

    def right(self, address: str) -> None:
        """Forget what was wrong before."""
        if self._guessers:
            self._guessers.pop(_counted_as(address), None)

    def _guesser(self, key: str) -> _Guesser:
        guesser = self._guessers.get(key)
        if guesser is not None:
            self._guessers.move_to_end(key)
            return guesser
        told_at, untold = float("-inf"), 0
        if len(self._guessers) >= ADDRESSES:
            # The newcomer goes on with the line of whom it displaces: more addresses than places write no more lines.
            displaced = self._guessers.popitem(last=False)[1]
            told_at, untold = displaced.told_at, displaced.untold
        guesser = self._guessers[key] = _Guesser(told_at, untold)
        return guesser


def _lock(guesser: _Guesser, now: float) -> int:
    seconds = guesser.next_seconds
    guesser.locked_until = now + seconds
    guesser.next_seconds = min(2 * seconds, LONGEST_SECONDS)
    return seconds


def _counted_as(address: str) -> str:
    """The key that an address is counted under; the address is written as systems do (RFC 5952).

    A host of the internet chooses its address within its /64, so that counts as one. A tailnet gives each node one
    address, and puts all of them into the same /64: there each counts for itself.
    """
    if ":" not in address or address.startswith(_TAILNET):
        return address[:_LONGEST_TEXT]
    if "." in address:  # ::ffff:192.0.2.1
        return address[-_LONGEST_TEXT:].rpartition(":")[2]
    # By hand, for ipaddress takes three times as long as all the rest.
    head, _, tail = address[:_LONGEST_TEXT].partition("::")
    groups, behind = (head or "0").split(":"), tail.count(":") + 1
    return ":".join([*groups, *["0"] * (8 - len(groups) - behind), *tail.split(":")][:4])
