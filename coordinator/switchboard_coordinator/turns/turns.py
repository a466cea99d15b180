"""Opens turns, finds them again, and takes up those that another process left open. Knows no surface."""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Row
from switchboard_relay import Headers

from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import (
    Conflict,
    JournalNeeded,
    JournalUnavailable,
    PeerOutcomeUnknown,
    PeerUnavailable,
    SwitchboardError,
    TurnNotFound,
)
from switchboard_coordinator.groups.modes import course
from switchboard_coordinator.peers.admission import Admission
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.turn import Lane, Transport, folded

from .asking import Asking
from .chat_lane import ChatLane, Tap
from .journal import Journal
from .lane import Conversation, LaneTask
from .live import LiveTurn
from .question import ChairsQuestion, PlainQuestion, Question
from .runs_lane import RunsLane
from .session import namespaced, without_session
from .sessions import Claim, SessionQuestion, Sessions
from .turn_task import TurnTask

KEY_SECONDS = 24 * 3600.0
"""So long an Idempotency-Key stands for its turn."""

CLIENT_LEFT = "client_left"
ONE_LANE = ("", "any")
"""The modes whose turn is one lane, and moves its session."""


class Turns:
    """The turns of this coordinator."""

    def __init__(
        self,
        peers: Mapping[str, Peer],
        roster: Roster,
        journal: Journal,
        sessions: Sessions,
        admission: Admission,
        transports: Mapping[str, Transport],
    ) -> None:
        self.journal = journal
        self.sessions = sessions
        self._peers = dict(peers)
        self._roster = roster
        self._admission = admission
        self._transports = transports
        self._tasks: dict[str, TurnTask] = {}
        self._keys: dict[tuple[str, str], tuple[bytes | None, LiveTurn]] = {}
        self._ended_keys = 0

    async def open(self, asking: Asking, tap: Tap | None = None) -> tuple[LiveTurn, bool]:
        """Begin a turn, or join the one that came with the same Idempotency-Key; True where it was joined.

        Raises:
            Conflict: the key came with another request, or the session is at home elsewhere.
            RateLimitExceeded: the consumer opens too many.
            JournalNeeded: a key or `detach` without a journal.
            JournalUnavailable: the journal cannot be written now.
        """
        if (asking.key is not None or asking.policy == "detach") and not self.journal.keeps_text:
            raise JournalNeeded("the journal is off here: there is no Idempotency-Key, no detach and no resume")
        if asking.key is not None:
            joined = await self._joined(asking.consumer, asking.key, asking.digest)
            if joined is not None:
                return joined, True
        asking.asked.count_turn()
        if self.journal.trouble is not None:
            raise JournalUnavailable(f"no new turn is taken, for it could not be written down: {self.journal.trouble}")
        plan = asking.plan
        live = LiveTurn(_new_id(), asking.consumer, self.journal, session=asking.session)
        if asking.session is not None and plan.mode in ONE_LANE:
            live.claim = self.sessions.claim(asking.consumer, asking.session, plan.lanes[0], may_move=asking.may_move)
        self._accept(live, asking)
        task = TurnTask(live, course(live.turn.accepted, asking.chat.question) if plan.mode else None)
        task.asked = asking.asked
        question = self._question(asking)
        for lane in live.turn.lanes:
            candidates = plan.candidates or (plan.lanes[lane.index],)
            if lane.index == plan.chair:
                chairs = ChairsQuestion()
                task.chaired(chairs)
                conversation = self._conversation(live, lane, chairs, without_session(asking.headers), asking, None)
            else:
                conversation = self._conversation(live, lane, question, asking.headers, asking, tap)
            self._add(task, candidates, conversation)
        if asking.deadline_ms is not None:
            task.end_after(asking.deadline_ms / 1000)
        if asking.key is not None:
            self._keys[asking.consumer, asking.key] = asking.digest, live
        self._start(task)
        return live, False

    def _question(self, asking: Asking) -> Question:
        if asking.session is None:
            return PlainQuestion(asking.chat)
        peer_session = namespaced(asking.session, asking.consumer)
        return SessionQuestion(
            asking.chat,
            asking.consumer,
            asking.session,
            asking.before,
            self.sessions,
            self._peers,
            peer_session,
            is_group=asking.plan.mode not in ONE_LANE,
        )

    def _conversation(
        self, live: LiveTurn, lane: Lane, question: Question, headers: Headers, asking: Asking, tap: Tap | None
    ) -> Conversation:
        if lane.transport == "runs":
            return RunsLane(live, lane.index, self._peers, question, headers, can_approve=asking.can_approve)
        return ChatLane(live, lane.index, self._peers, question, headers, tap)

    def _add(self, task: TurnTask, candidates: Sequence[Address], conversation: Conversation) -> None:
        index = len(task.lanes)
        task.add(LaneTask(task.live, index, candidates, conversation, self._admission, self._peers), conversation)

    def _accept(self, live: LiveTurn, asking: Asking) -> None:
        plan = asking.plan
        transports = [asking.transport or self._transports[address.peer] for address in plan.lanes]
        self.journal.open(
            {
                "id": live.id,
                "consumer": asking.consumer,
                "state": "queued",
                "target": asking.chat.model,
                "policy": asking.policy,
                "transport": transports[0],
                "session": asking.session,
                "key": asking.key,
                "digest": asking.digest,
                "question": asking.chat.messages_json,
                "restarts": 0,
                "created_at": time.time(),
                "ended_at": None,
            }
        )
        live.note(
            "turn.accepted",
            to=asking.chat.model,
            mode=plan.mode,
            policy=asking.policy,
            lanes=[str(address) for address in plan.lanes],
            transports=transports,
            answers=plan.answers,
            quorum=plan.quorum,
            chair=plan.chair,
            candidates=[str(address) for address in plan.candidates],
            deadline_at=None if asking.deadline_ms is None else time.time() + asking.deadline_ms / 1000,
        )

    def _start(self, task: TurnTask) -> None:
        self._tasks[task.live.id] = task
        task.start(self._ended)

    def _ended(self, task: TurnTask) -> None:
        live = task.live
        self._tasks.pop(live.id, None)
        for lane in live.turn.lanes:
            if lane.is_over and lane.attempts and self._roster.knows(Address.of(lane.address)):
                self._roster.turned(Address.of(lane.address), lane.state, lane.code)
        if live.claim is not None and live.is_over:
            self._leave(live.claim, task)
        for key, (_, known) in list(self._keys.items()):
            if known is live:
                del self._keys[key]
                self._ended_keys += 1

    def _leave(self, claim: Claim, task: TurnTask) -> None:
        """Say what became of a turn's hold on its session."""
        live, lane = task.live, task.live.turn.lanes[0]
        did_start = lane.attempts > 0 and lane.end.get("started") != "no"
        # Where it is not known whether it ran, an agent that has said nothing may have stored nothing.
        is_stored = did_start and lane.transport == "chat" and (lane.state == "done" or bool(lane.text))
        self.sessions.took_part(claim, lane.address, live.id, did_start=did_start, is_stored=is_stored)
        if did_start and claim.affinity(lane.address) == "moved" and task.asked is not None:
            task.asked.note("session.move", f"{claim.name} to {lane.address}")

    async def _joined(self, consumer: str, key: str, digest: bytes | None) -> LiveTurn | None:
        """The turn of a key, running or finished."""
        row, ended = None, -1
        # Another request may begin the turn while we read, or even see it end: then it stands in what we read next.
        while (consumer, key) not in self._keys and row is None and ended != self._ended_keys:
            ended = self._ended_keys
            row = await self.journal.keyed(consumer, key)
            if row is not None and row.created_at < time.time() - KEY_SECONDS:
                await self.journal.forget_key(row.id)
                row = None
        known = self._keys.get((consumer, key))
        if known is None and row is None:
            return None
        if (known[0] if known else row.digest if row else None) != digest:
            raise Conflict("idempotency_key_conflict", "this Idempotency-Key came with another request before")
        if known is None and row is not None and row.id in self._tasks:  # taken up after a restart
            return self._tasks[row.id].live
        return known[1] if known else await self._past(row)

    @contextmanager
    def attended(self, live: LiveTurn) -> Iterator[None]:
        """A client is there in this block. Under the policy `cancel` a turn ends with its last one."""
        live.readers += 1
        try:
            yield
        finally:
            live.readers -= 1
            task = self._tasks.get(live.id)
            if task is not None and live.readers == 0 and live.turn.accepted["policy"] == "cancel":
                task.cancel(CLIENT_LEFT)

    # Finding.

    def task(self, turn_id: str) -> TurnTask | None:
        """A turn that goes on here."""
        return self._tasks.get(turn_id)

    def known_in(self, state: str, consumer: str) -> list[str]:
        """The turns of this consumer's that go on here and are in this state."""
        tasks = self._tasks.values()
        return [task.live.id for task in tasks if task.live.consumer == consumer and task.live.turn.state == state]

    async def find(self, turn_id: str, consumer: str | None) -> LiveTurn:
        """A turn of this consumer's (of anybody's, where that is None), running or over.

        Raises:
            TurnNotFound: there is none.
        """
        task = self._tasks.get(turn_id)
        if task is not None and consumer in (None, task.live.consumer):
            return task.live
        row = await self.journal.row(turn_id) if task is None else None
        task = self._tasks.get(turn_id)
        if row is None or consumer not in (None, row.consumer):
            raise TurnNotFound(f"there is no turn {turn_id[:80]!r} of yours; GET /api/turns lists them")
        return task.live if task is not None else await self._past(row)

    async def _past(self, row: Row[Any] | None) -> LiveTurn:
        assert row is not None  # noqa: S101 - the callers looked
        turn = folded(await self.journal.events(row.id, 0))
        return LiveTurn.past(row.id, row.consumer, self.journal, turn, row.restarts, session=row.session)

    # After a restart.

    async def recover(self) -> None:
        """Take up what another process left open: runs go on, the rest is told as interrupted."""
        for row in await self.journal.left_open():
            events = await self.journal.events(row.id, 0)
            live = LiveTurn(row.id, row.consumer, self.journal, session=row.session)
            live.resume(folded(events), row.restarts)
            # A council's chair was not asked yet, or is a lane like others.
            task = TurnTask(live, course(live.turn.accepted, "") if live.turn.accepted["mode"] != "council" else None)
            for lane in live.turn.lanes:
                run = RunsLane(live, lane.index, self._peers, None, (), can_approve=True)
                self._add(task, (Address.of(lane.address),), run)
            task.take_up(events)
            for lane in live.turn.lanes:
                if not lane.is_over and (lane.run_id is None or Address.of(lane.address).peer not in self._peers):
                    live.note("lane.interrupted", lane.index, **_left(lane).told())
            if (deadline_at := live.turn.accepted.get("deadline_at")) is not None:
                task.end_after(max(0.0, deadline_at - time.time()))
            self._start(task)

    async def close(self, drain_seconds: float) -> None:
        """This process ends: let what still runs end by itself for so long, and break off the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_seconds):
                for task in list(self._tasks.values()):
                    if not task.outlives_us:
                        await asyncio.shield(task.live.over)
        async with asyncio.TaskGroup() as closing:
            for task in list(self._tasks.values()):
                closing.create_task(task.close())


def _left(lane: Lane) -> SwitchboardError:
    """What is to be said of a lane that ended with another process of ours."""
    if lane.state == "queued":
        return PeerUnavailable("the coordinator ended before the turn was sent")
    return PeerOutcomeUnknown(f"{lane.address} was at work when the coordinator ended; it may have run")


def _new_id() -> str:
    """An id that sorts by time, so that new rows stand beside each other."""
    return f"turn_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
