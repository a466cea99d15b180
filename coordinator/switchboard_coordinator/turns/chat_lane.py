"""A lane over `/v1/chat/completions`: the peer's frames become events, and go to the client as they are.

Cancelled, it closes the connection: a hermes-agent notices that when it next writes, at worst with its keepalive after
30 s (hermes-agent 0.19.0).
"""

from typing import Any, Protocol

from switchboard_relay import Headers

from switchboard_coordinator.address import Address
from switchboard_coordinator.chat import QUIET, Finish, Text, Tool, head_of, is_done, read_frame
from switchboard_coordinator.errors import PeerOutcomeUnknown
from switchboard_coordinator.peers.peer import Peer

from .lane import LaneEnd
from .live import LiveTurn
from .question import Question


class Tap(Protocol):
    """A client that gets the peer's frames as they are."""

    async def begin(self) -> None:
        """The peer has taken the turn."""

    async def show(self, frames: list[bytes]) -> None:
        """Give it these; waits while it takes them slowly."""

    def hold(self, frames: list[bytes]) -> None:
        """Keep these until the turn's end is written: they tell it."""


class ChatLane:
    """One conversation."""

    def __init__(
        self, live: LiveTurn, index: int, peers: dict[str, Peer], question: Question, headers: Headers, tap: Tap | None
    ) -> None:
        self._tap = tap
        self._live = live
        self._index = index
        self._peers = peers
        self._question = question
        self._headers = headers

    async def hold(self, address: Address, attempt: int) -> LaneEnd:  # noqa: ARG002 - a peer is told nothing of attempts
        """See `Conversation.hold`."""
        body = await self._question.chat(address)
        async with self._peers[address.peer].chat(address.profile, body, self._headers) as stream:
            if self._tap is not None:
                await self._tap.begin()
            head: dict[str, Any] = {}
            finish: Finish | None = None
            while not stream.is_done:
                frames = await stream.next()
                shown = 0
                for frame in frames:
                    if not head:
                        head = head_of(frame)
                    event = read_frame(frame)
                    if isinstance(event, Text):
                        self._live.note("lane.text", self._index, text=event.text)
                    elif isinstance(event, Tool):
                        self._live.note("lane.tool", self._index, progress=event.progress)
                    elif isinstance(event, Finish):
                        finish = event
                    if finish is None and not (event is QUIET and is_done(frame)):
                        shown += 1
                if self._tap is not None:
                    if shown < len(frames):
                        self._tap.hold(frames[shown:])
                    if shown:
                        await self._tap.show(frames[:shown])
            return _end(finish, head)

    async def resume(self, address: Address) -> LaneEnd:
        """See `Conversation.resume`: the agent was interrupted when the connection went."""
        raise PeerOutcomeUnknown(f"{address} was at work when the coordinator ended; it may have run")

    async def stop(self) -> dict[str, Any]:
        """See `Conversation.stop`: its connection is closed already."""
        return {}


def _end(finish: Finish | None, head: dict[str, Any]) -> LaneEnd:
    more = {"completion": head}
    if finish is None:
        return LaneEnd(more=more)
    return LaneEnd(finish.reason, finish.usage, finish.failure, more)
