"""Many lanes, one answer: lane events in, one ordered stream of turn events out. Pure.

`Sections` makes one text of all: each lane's part stands under its address, the lane whose text comes first is shown
live, the others follow whole as they finish. `Choices` shows every lane live, each in a choice of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .address import Address
from .chat import Finish, PeerEvent, Text, Tool
from .errors import SwitchboardError


@dataclass(frozen=True, slots=True)
class Failed:
    """A lane ended without a whole answer."""

    error: SwitchboardError


LaneEvent = PeerEvent | Failed


@dataclass(frozen=True, slots=True)
class Delta:
    """Text for one choice of the answer."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A tool of one lane is at work."""

    choice: int
    address: Address
    progress: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """One choice of the answer is whole."""

    choice: int
    reason: str


TurnEvent = Delta | Progress | Ended


class Arrangement(Protocol):
    """How the lanes make one answer."""

    def feed(self, lane: int, event: LaneEvent) -> list[TurnEvent]:
        """What is to be shown now that this lane had this event; a lane ends with `Finish` or `Failed`."""
        ...


def heading(address: Address) -> str:
    """What stands above one lane's section."""
    return f"### {address}\n\n"


def failure_note(error: SwitchboardError) -> str:
    """What a reader sees of a failed lane."""
    return f"[failed: {error.code}] {error.words}"


class Choices:
    """Lane n is choice n."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses

    def feed(self, lane: int, event: LaneEvent) -> list[TurnEvent]:
        """See `Arrangement.feed`."""
        match event:
            case Text(text):
                return [Delta(lane, text)]
            case Tool(progress):
                return [Progress(lane, self._addresses[lane], progress)]
            case Finish(reason=reason):
                return [Ended(lane, reason)]
            case Failed(error):
                note = f"{self._addresses[lane]}: {failure_note(error)}"
                return [Delta(lane, note), Ended(lane, "error")]
        return []


@dataclass(slots=True)
class _Section:
    held: list[str] = field(default_factory=list)
    is_over: bool = False


class Sections:
    """All lanes in choice 0, one section each."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses
        self._sections = [_Section() for _ in addresses]
        self._live: int | None = None
        self._has_been_live = False
        self._waiting: list[int] = []  # over, and not shown yet
        self._is_begun = False

    def feed(self, lane: int, event: LaneEvent) -> list[TurnEvent]:
        """See `Arrangement.feed`."""
        match event:
            case Text(text):
                return self._text(lane, text)
            case Tool(progress):
                return [Progress(0, self._addresses[lane], progress)]
            case Finish():
                return self._over(lane, note=None)
            case Failed(error):
                return self._over(lane, note=failure_note(error))
        return []

    def _text(self, lane: int, text: str) -> list[TurnEvent]:
        if not self._has_been_live:
            self._live, self._has_been_live = lane, True
            return [Delta(0, self._begin(lane) + text)]
        if self._live == lane:
            return [Delta(0, text)]
        self._sections[lane].held.append(text)
        return []

    def _over(self, lane: int, note: str | None) -> list[TurnEvent]:
        section = self._sections[lane]
        section.is_over = True
        shown: list[TurnEvent] = []
        if self._live == lane:
            self._live = None
            if note is not None:
                shown.append(Delta(0, f"\n\n{note}"))
        else:
            if note is not None:
                section.held.append(f"\n\n{note}" if section.held else note)
            self._waiting.append(lane)
        if self._live is None:
            shown += [Delta(0, self._begin(over) + "".join(self._sections[over].held)) for over in self._waiting]
            self._waiting.clear()
        if all(section.is_over for section in self._sections):
            shown.append(Ended(0, "stop"))
        return shown

    def _begin(self, lane: int) -> str:
        gap = "\n\n" if self._is_begun else ""
        self._is_begun = True
        return gap + heading(self._addresses[lane])


@dataclass(slots=True)
class LaneResult:
    """What became of one lane."""

    index: int
    address: Address
    usage: dict[str, Any] | None = None
    error: SwitchboardError | None = None
    duration_ms: int = 0

    def told(self) -> dict[str, Any]:
        """As it stands in the last chunk of an answer."""
        return {
            "index": self.index,
            "address": str(self.address),
            "state": "failed" if self.error else "done",
            "code": self.error.code if self.error else None,
            "message": self.error.words if self.error else None,
            "duration_ms": self.duration_ms,
            "usage": self.usage,
        }


def summed_usage(results: Sequence[LaneResult]) -> dict[str, int]:
    """The lanes' token counts, added up."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: sum(int((result.usage or {}).get(name) or 0) for result in results) for name in names}
