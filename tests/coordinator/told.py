"""Turns told by hand: their events, numbered as a journal numbers them."""

from collections.abc import Sequence
from typing import Any

from switchboard_coordinator.turn import Event, Turn


class ToldTurn:
    """One turn's events so far, and what they add up to."""

    def __init__(self, mode: str, lanes: Sequence[str], **more: Any) -> None:
        """Accepted, with these lanes; a lane is `nas` for `default@nas`."""
        self.id = "turn_" + "0123456789abcdef" * 2
        self.turn = Turn()
        self.events: list[Event] = []
        addresses = [f"default@{name}" for name in lanes]
        told = {"to": f"{mode or 'default'}@x", "mode": mode, "lanes": addresses, "transports": ["chat"] * len(lanes)}
        self.accepted = {**told, "policy": "cancel", "answers": "sections", "quorum": None, "chair": None, **more}
        self.note("turn.accepted", **self.accepted)

    def note(self, name: str, lane: int | None = None, /, **data: Any) -> Event:
        """The next event."""
        event = Event(self.turn.last_id + 1, name, 1_800_000_000.0, lane, data)
        self.turn.apply(event)
        self.events.append(event)
        return event

    def send(self, *lanes: int) -> None:
        """These lanes are sent, or all."""
        for lane in lanes or range(len(self.turn.lanes)):
            self.note("lane.sent", lane, address=self.turn.lanes[lane].address, attempt=1, transport="chat")

    def say(self, lane: int, text: str) -> Event:
        """A lane says this."""
        return self.note("lane.text", lane, text=text)

    def done(self, lane: int, tokens: int = 1) -> Event:
        """A lane is done."""
        usage = {"prompt_tokens": tokens, "completion_tokens": tokens, "total_tokens": 2 * tokens}
        return self.note("lane.done", lane, finish_reason="stop", usage=usage, duration_ms=7)

    def fail(self, lane: int, state: str = "failed", code: str = "peer_failed", message: str = "it broke") -> Event:
        """A lane is over without being done."""
        return self.note(f"lane.{state}", lane, code=code, message=message, started="yes")

    def cancel(self, lane: int, reason: str = "asked") -> Event:
        """A lane is cancelled."""
        return self.note("lane.cancelled", lane, reason=reason)

    def end(self, **data: Any) -> Event:
        """The turn comes to what its lanes add up to."""
        return self.note(f"turn.{self.turn.outcome()}", None, **data)
