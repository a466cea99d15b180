"""How a group's turn goes on: which lanes are cancelled when, and when a council's chair is asked. Pure."""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from switchboard_coordinator.turn import NOBODY_ANSWERED, Event

from .chair import chairs_question

LOST_RACE = "lost_race"
QUORUM_REACHED = "quorum_reached"

_ENDS = frozenset(("lane.done", "lane.failed", "lane.cancelled", "lane.interrupted"))


class Decision(NamedTuple):
    """Lanes to cancel, for this reason; and what the chair is to be asked now."""

    cancel: tuple[int, ...] = ()
    reason: str = ""
    ask_chair: str | None = None


NOTHING = Decision()


class Course(Protocol):
    """Decides how one turn goes on."""

    def feed(self, event: Event) -> Decision:
        """What is to be done now that this happened. To be given every event of the turn once, in order."""
        ...


def course(accepted: Mapping[str, Any], question: str) -> Course | None:
    """The course of a turn with these data of `turn.accepted`; None where each lane goes its own way."""
    lanes = range(len(accepted["lanes"]))
    match accepted["mode"]:
        case "first":
            return First(lanes)
        case "quorum":
            return Quorum(lanes, accepted["quorum"])
        case "council":
            return Council(accepted["lanes"], accepted["chair"], question)
    return None


class First:
    """The first text wins; the other lanes have lost then."""

    def __init__(self, lanes: range) -> None:
        self._open = dict.fromkeys(lanes)
        self._is_won = False

    def feed(self, event: Event) -> Decision:
        """See `Course.feed`."""
        if self._is_won or event.lane is None:
            return NOTHING
        if event.name == "lane.text" and event.data["text"]:
            self._is_won = True
            return Decision(tuple(lane for lane in self._open if lane != event.lane), LOST_RACE)
        if event.name in _ENDS:
            self._open.pop(event.lane, None)
        return NOTHING


class Quorum:
    """As many lanes as `enough` are waited for."""

    def __init__(self, lanes: range, enough: int) -> None:
        self._open = dict.fromkeys(lanes)
        self._missing = enough

    def feed(self, event: Event) -> Decision:
        """See `Course.feed`."""
        if event.lane is None or event.name not in _ENDS:
            return NOTHING
        self._open.pop(event.lane, None)
        if event.name != "lane.done":
            return NOTHING
        self._missing -= 1
        return Decision(tuple(self._open), QUORUM_REACHED) if self._missing == 0 else NOTHING


class Council:
    """When all others are over, the chair is asked; or cancelled, where nobody has answered."""

    def __init__(self, addresses: list[str], chair: int, question: str) -> None:
        self._addresses = addresses
        self._chair = chair
        self._question = question
        self._open = {lane: None for lane in range(len(addresses)) if lane != chair}
        self._texts = {lane: io.StringIO() for lane in self._open}
        self._failures: dict[int, str] = {}
        self._is_chair_over = False

    def feed(self, event: Event) -> Decision:
        """See `Course.feed`."""
        lane = event.lane
        if lane is None:
            return NOTHING
        if lane == self._chair:
            self._is_chair_over |= event.name in _ENDS
            return NOTHING
        if event.name == "lane.text":
            self._texts[lane].write(event.data["text"])
            return NOTHING
        if event.name not in _ENDS:
            return NOTHING
        if event.name != "lane.done":
            self._failures[lane] = _why(event)
        self._open.pop(lane, None)
        return NOTHING if self._open or self._is_chair_over else self._close()

    def _close(self) -> Decision:
        answers = {
            self._addresses[lane]: text.getvalue() for lane, text in self._texts.items() if lane not in self._failures
        }
        if not answers:
            return Decision((self._chair,), NOBODY_ANSWERED)
        failures = {self._addresses[lane]: why for lane, why in self._failures.items()}
        return Decision(ask_chair=chairs_question(self._question, answers, failures))


def _why(event: Event) -> str:
    state = event.name.removeprefix("lane.")
    return f"{state} ({event.data.get('reason') or event.data.get('message')})"
