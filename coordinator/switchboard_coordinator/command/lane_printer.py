"""In which order a terminal shows what several lanes say at once. Pure.

One lane is live at a time, under its address; what others say meanwhile is held, and shown when their turn comes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of text for the terminal, in the colour of its lane."""

    lane: int
    text: str
    is_heading: bool = False


class LanePrinter:
    """Turns the lanes' texts into pieces. A lane alone needs no heading."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._held: dict[int, list[str]] = {}  # lanes that wait, in the order in which they began
        self._over: set[int] = set()
        self._live: int | None = None
        self._is_begun = False

    def text(self, lane: int, text: str) -> list[Piece]:
        """A lane said this."""
        if self._live is None:
            return self._begin(lane, text)
        if self._live == lane:
            return [Piece(lane, text)]
        self._held.setdefault(lane, []).append(text)
        return []

    def end(self, lane: int) -> list[Piece]:
        """A lane says no more."""
        self._over.add(lane)
        if lane != self._live:
            if self._live is not None or lane in self._held:
                self._held.setdefault(lane, [])
                return []
            return [*self._begin(lane, ""), *self._next()]
        return self._next()

    def _next(self) -> list[Piece]:
        """Let those that waited speak, up to one that has not ended."""
        pieces: list[Piece] = []
        self._live = None
        while self._held and self._live is None:
            lane = next(iter(self._held))
            pieces += self._begin(lane, "".join(self._held.pop(lane)))
            if lane in self._over:
                self._live = None
        return pieces

    def _begin(self, lane: int, text: str) -> list[Piece]:
        self._live = lane
        if len(self._addresses) == 1:
            return [Piece(lane, text)] if text else []
        gap = "\n\n" if self._is_begun else ""
        self._is_begun = True
        heading = Piece(lane, f"{gap}{self._addresses[lane]}\n", is_heading=True)
        return [heading, Piece(lane, text)] if text else [heading]
