"""The search for the largest number that holds: doubling until one fails, then halving what is left. Pure.

It says what to try next and is told how that went, so that the searches of several systems can be interleaved and all
take the same steps.
"""

from dataclasses import dataclass


@dataclass
class Search:
    """Find the most that holds, to one part in `fineness`, between `first` and `last`."""

    first: int
    last: int
    fineness: int = 8
    most: int = 0
    """The largest number that held so far."""
    failed: int | None = None
    """The smallest number that failed so far."""

    def next_try(self) -> int | None:
        """The number to try, or None when the search is over."""
        if self.failed is None:
            return None if self.most >= self.last else min(self.last, self.most * 2 or self.first)
        if self.failed - self.most <= max(1, self.most // self.fineness):
            return None
        return (self.most + self.failed) // 2

    def tell(self, tried: int, *, held: bool) -> None:
        """How the last try went. Above a number that failed nothing is tried again, though it was a fluke."""
        if held:
            self.most = tried
        else:
            self.failed = tried
