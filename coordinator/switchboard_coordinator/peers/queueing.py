"""Who is next: round robin between those who wait, first come within one of them. Pure."""

from collections import deque
from collections.abc import Iterator
from itertools import zip_longest
from typing import Generic, TypeVar

Item = TypeVar("Item")


class FairQueue(Generic[Item]):
    """Items of several owners. Iterating gives them in the order in which `take` would, if nobody else came."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[Item]] = {}  # whose turn it is first; nobody is here with an empty line
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Item]:
        nobody = object()
        for round_ in zip_longest(*self._lines.values(), fillvalue=nobody):
            for item in round_:
                if item is not nobody:
                    yield item  # type: ignore[misc]  # a fill value of another type is told apart by identity

    def add(self, owner: str, item: Item) -> None:
        """Put an item at the end of its owner's line; a new owner is the last in the round."""
        self._lines.setdefault(owner, deque()).append(item)
        self._length += 1

    def take(self) -> Item:
        """Remove and return the next item; its owner goes to the end of the round.

        Raises:
            IndexError: nobody waits.
        """
        owner = next(iter(self._lines), None)
        if owner is None:
            raise IndexError("nobody waits")
        line = self._lines.pop(owner)
        item = line.popleft()
        if line:
            self._lines[owner] = line
        self._length -= 1
        return item

    def remove(self, owner: str, item: Item) -> None:
        """Remove an item that waits no longer.

        Raises:
            KeyError, ValueError: it is not here.
        """
        line = self._lines[owner]
        line.remove(item)
        if not line:
            del self._lines[owner]
        self._length -= 1
