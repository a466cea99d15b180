"""Carries out the plan of a turn: one lane or several, each a conversation with one peer."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from switchboard_relay import Headers

from .address import DEFAULT_PROFILE, Address
from .chat import ChatRequest, Finish, Fold, Quiet, read_frame
from .errors import EveryLaneFailed, PeerError, PeerFailed
from .fanout import Arrangement, Failed, LaneEvent, LaneResult, TurnEvent
from .peer import Peer, PeerAnswer
from .routing import Plan

QUIET_SECONDS = 5.0
"""No client waits longer than this without a byte once its answer has begun."""
EVENTS_AHEAD = 64
"""So many lane events wait for a slow client before the lanes are held back."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, in the client's own bytes, and the headers that go with it."""

    chat: ChatRequest
    headers: Headers


class Audience(Protocol):
    """Who sees a group's turn while it goes on."""

    async def accepted(self) -> None:
        """A peer has taken the turn."""

    async def show(self, events: list[TurnEvent]) -> None:
        """This happened."""

    async def quiet(self) -> None:
        """Nothing happened for a while."""


@dataclass(frozen=True, slots=True)
class _Accepted:
    """A peer began to answer."""


class Turns:
    """Asks peers. Whoever leaves the block of a turn closes its lanes' connections."""

    def __init__(self, peers: Mapping[str, Peer]) -> None:
        self._peers = peers

    def ask(self, address: Address, question: Question) -> AbstractAsyncContextManager[PeerAnswer]:
        """Open one lane.

        Raises:
            PeerError: on entering, and while the answer is read.
        """
        body = question.chat.for_peer(_model(address))
        return self._peers[address.peer].ask(address.profile, body, question.headers)

    async def ask_one(self, address: Address, question: Question) -> tuple[Fold, Headers]:
        """One lane's whole answer, and its headers.

        Raises:
            PeerError: it did not come to its end, or the peer says that its turn failed.
        """
        fold = Fold()
        async with self.ask(address, question) as answer:
            while not answer.is_done:
                for frame in await answer.frames():
                    fold.feed(frame)
        if fold.finish is not None and fold.finish.failure is not None:
            raise PeerFailed(f"{address} failed: {fold.finish.failure}")
        return fold, answer.headers

    async def ask_all(
        self, plan: Plan, question: Question, arrangement: Arrangement, audience: Audience
    ) -> list[LaneResult]:
        """All lanes at once, shown as they are arranged.

        Raises:
            EveryLaneFailed: not one answered; the audience has seen each lane's failure.
        """
        results = [LaneResult(index, address) for index, address in enumerate(plan.lanes)]
        events: asyncio.Queue[tuple[int, LaneEvent | _Accepted]] = asyncio.Queue(EVENTS_AHEAD)
        running = len(results)
        async with asyncio.TaskGroup() as lanes:
            for result in results:
                lanes.create_task(self._lane(result, question, events))
            while running:
                try:
                    async with asyncio.timeout(QUIET_SECONDS):
                        lane, event = await events.get()
                except TimeoutError:
                    await audience.quiet()
                    continue
                if isinstance(event, _Accepted):
                    await audience.accepted()
                    continue
                running -= isinstance(event, Finish | Failed)
                await audience.show(arrangement.feed(lane, event))
        if all(result.error for result in results):
            raise EveryLaneFailed([(str(result.address), result.error) for result in results if result.error])
        return results

    async def _lane(
        self, result: LaneResult, question: Question, events: "asyncio.Queue[tuple[int, LaneEvent | _Accepted]]"
    ) -> None:
        """Ask one peer and queue what it says; the last event is `Finish` or `Failed`."""
        began = time.perf_counter()
        finish = Finish("stop", None, None)
        try:
            async with self.ask(result.address, question) as answer:
                await events.put((result.index, _Accepted()))
                while not answer.is_done:
                    for frame in await answer.frames():
                        event = read_frame(frame)
                        if isinstance(event, Finish):
                            finish = event
                        elif not isinstance(event, Quiet):
                            await events.put((result.index, event))
            if finish.failure is not None:
                raise PeerFailed(f"{result.address} failed: {finish.failure}")
        except PeerError as error:
            result.error = error
        result.usage = finish.usage
        result.duration_ms = round((time.perf_counter() - began) * 1000)
        await events.put((result.index, Failed(result.error) if result.error else finish))


def _model(address: Address) -> str:
    """What a peer's own model list calls this profile: our routing id is ours alone (hermes-agent 0.19.0)."""
    return "hermes-agent" if address.profile == DEFAULT_PROFILE else address.profile
