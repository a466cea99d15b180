"""Many lanes, one answer: what lanes say in, what a client is shown of it out. Pure.

Choices    every lane live, in a choice of its own; with one lane alone this is a plain answer
FirstText  the lane whose text comes first, and no other
Sections   one text of all: each part under its address; the lane whose text comes first is live, the others follow
           whole as they finish
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from switchboard_coordinator.turn import Event, Lane


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a lane's answer, not empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Words of ours amid a lane's answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of a lane is at work."""

    progress: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class End:
    """A lane is over; `note` says why where it is not done."""

    reason: str
    note: str | None = None


LaneEvent = Text | Note | Tool | End


@dataclass(frozen=True, slots=True)
class Delta:
    """Text for one choice of the answer."""

    choice: int
    text: str


@dataclass(frozen=True, slots=True)
class Progress:
    """A tool of one lane is at work."""

    lane: int
    progress: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ended:
    """One choice of the answer is whole."""

    choice: int
    reason: str


Shown = Delta | Progress | Ended


class Arrangement(Protocol):
    """How the lanes make one answer.

    Attributes:
        choices: how many choices the answer has.
    """

    choices: int

    def choice_of(self, lane: int) -> int | None:
        """The choice that is this lane's own; None where it has none."""
        ...

    def feed(self, lane: int, event: LaneEvent) -> list[Shown]:
        """What is to be shown now that this lane had this event; each lane's last one is its `End`."""
        ...


def arrangement(accepted: Mapping[str, Any]) -> Arrangement:
    """The one that a turn with these data of `turn.accepted` wants."""
    addresses: Sequence[str] = accepted["lanes"]
    chair: int | None = accepted.get("chair")
    in_choices = accepted.get("answers") == "choices"
    match accepted["mode"]:
        case "first":
            return FirstText()
        case "council" if chair is not None:
            others = [lane for lane in range(len(addresses)) if lane != chair] if in_choices else []
            return Choices([chair, *others], addresses)
        case "all" | "quorum":
            return Choices(range(len(addresses)), addresses) if in_choices else Sections(addresses)
    return Choices([0], addresses)


def lane_event(event: Event, lane: Lane) -> LaneEvent | None:
    """What an event of this lane, as it was before the event, says to a chat client; None where that is nothing."""
    data = event.data
    match event.name:
        case "lane.text":
            return Text(data["text"]) if data["text"] else None
        case "lane.tool":
            return Tool(data["progress"])
        case "lane.approved" if data.get("by") == "switchboard":
            gap = "\n\n" if lane.text else ""
            return Note(f"{gap}{_denial(lane.approvals.get(data['approval'], {}))}\n\n")
        case "lane.done":
            return End(data.get("finish_reason") or "stop")
        case "lane.failed" | "lane.interrupted":
            state = event.name.removeprefix("lane.")
            return End("error", f"[{state}: {data.get('code')}] {data.get('message')}")
        case "lane.cancelled":
            return End("error", f"[cancelled: {data.get('reason')}]")
    return None


def _denial(asked: Mapping[str, Any]) -> str:
    command = f" to run `{asked['command']}`" if asked.get("command") else ""
    return f"[approval denied: the agent asked for leave{command}, which a chat client cannot give; /api/turns can]"


def heading(address: str) -> str:
    """What stands above one lane's section."""
    return f"### {address}\n\n"


class Choices:
    """The lanes that have a choice, in the order of their choices. Of the others only the tools are shown."""

    def __init__(self, lanes: Sequence[int], addresses: Sequence[str]) -> None:
        self.choices = len(lanes)
        self._choice_of = {lane: choice for choice, lane in enumerate(lanes)}
        self._addresses = addresses
        self._spoke: set[int] = set()

    def choice_of(self, lane: int) -> int | None:
        """See `Arrangement.choice_of`."""
        return self._choice_of.get(lane)

    def feed(self, lane: int, event: LaneEvent) -> list[Shown]:
        """See `Arrangement.feed`. Where the answer is one lane's alone, its failure is the turn's, and told as such."""
        if isinstance(event, Tool):
            return [Progress(lane, event.progress)]
        choice = self._choice_of.get(lane)
        if choice is None:
            return []
        if isinstance(event, End):
            if event.note is None or self.choices == 1:
                return [Ended(choice, event.reason)]
            gap = "\n\n" if choice in self._spoke else ""
            return [Delta(choice, f"{gap}{self._addresses[lane]}: {event.note}"), Ended(choice, event.reason)]
        self._spoke.add(choice)
        return [Delta(choice, event.text)]


class FirstText:
    """The lane whose text comes first is choice 0. What it did before is shown with it; the others never are."""

    choices = 1

    def __init__(self) -> None:
        self._winner: int | None = None
        self._held: dict[int, list[LaneEvent]] = {}

    def choice_of(self, lane: int) -> int | None:  # noqa: ARG002 - the shape of an arrangement
        """See `Arrangement.choice_of`: nobody knows before the first text."""
        return None

    def feed(self, lane: int, event: LaneEvent) -> list[Shown]:
        """See `Arrangement.feed`."""
        if self._winner is None:
            held = self._held.setdefault(lane, [])
            held.append(event)
            if not isinstance(event, Text):
                return []
            self._winner = lane
            self._held = {}
            return [_alone(lane, before) for before in held]
        return [_alone(lane, event)] if lane == self._winner else []


def _alone(lane: int, event: LaneEvent) -> Shown:
    match event:
        case Tool(progress):
            return Progress(lane, progress)
        case End(reason):
            return Ended(0, reason)
        case Text(text) | Note(text):
            return Delta(0, text)


@dataclass(slots=True)
class _Section:
    held: list[str] = field(default_factory=list)
    is_over: bool = False


class Sections:
    """All lanes in choice 0, one section each."""

    choices = 1

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses
        self._sections = [_Section() for _ in addresses]
        self._live: int | None = None
        self._has_been_live = False
        self._waiting: list[int] = []  # over, and not shown yet
        self._is_begun = False

    def choice_of(self, lane: int) -> int | None:  # noqa: ARG002 - the shape of an arrangement
        """See `Arrangement.choice_of`: all share one."""
        return None

    def feed(self, lane: int, event: LaneEvent) -> list[Shown]:
        """See `Arrangement.feed`."""
        match event:
            case Tool(progress):
                return [Progress(lane, progress)]
            case End(_, note):
                return self._over(lane, note)
            case Text(text) | Note(text):
                return self._text(lane, text)

    def _text(self, lane: int, text: str) -> list[Shown]:
        if not self._has_been_live:
            self._live, self._has_been_live = lane, True
            return [Delta(0, self._begin(lane) + text)]
        if self._live == lane:
            return [Delta(0, text)]
        self._sections[lane].held.append(text)
        return []

    def _over(self, lane: int, note: str | None) -> list[Shown]:
        section = self._sections[lane]
        section.is_over = True
        shown: list[Shown] = []
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


def summed_usage(usages: Iterable[Mapping[str, Any] | None]) -> dict[str, int]:
    """The lanes' token counts, added up; of those that told theirs."""
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    told = [usage for usage in usages if usage]
    return {name: sum(int(usage.get(name) or 0) for usage in told) for name in names}
