"""Sessions: where each is at home, and what an address missed of it. Knows each consumer's own words alone.

A session goes on at its home address, whose agent holds its history. Sent elsewhere it moves, and the new address is
given what it does not hold: within the message on `chat`, as its history on `runs`. A group's turn uses each peer's own
session and moves nothing.
"""

import json
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Literal

from sqlalchemy import Row

from switchboard_coordinator.address import DEFAULT_PROFILE, Address
from switchboard_coordinator.chat import ChatRequest, text_of
from switchboard_coordinator.errors import Conflict, PeerError
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.turn import folded

from .journal import Journal
from .question import Message, model_of, run_of, with_missed

REMEMBERED = 10_000
"""So many sessions are held in memory; others are read when they are asked for."""
TURNS_TOLD = 100
"""So many turns of a session are told to an address that missed them, the newest ones."""
MESSAGES_TOLD = 200
CHARACTERS_TOLD = 1_000_000
"""So much text of them: an agent takes 10 MB (hermes-agent 0.19.0), and JSON may make a character six bytes."""

Affinity = Literal["hit", "miss", "moved", "off"]


@dataclass(frozen=True, slots=True)
class Session:
    """Where a session is at home; `seen` is address → the turn up to which the agent there has stored everything.

    A run adds nothing to that: of the history that it is given its agent stores nothing (hermes-agent 0.19.0).
    """

    home: str
    seen: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False, frozen=True, slots=True)
class Claim:
    """One turn's hold on a session while it goes on: it puts it there, and is void where it does not start."""

    consumer: str
    name: str
    before: str | None
    """Where the session was at home."""
    home: str
    number: int

    def affinity(self, address: str) -> Affinity:
        """What it is to the session that this address takes the turn."""
        return "miss" if self.before is None else "hit" if self.before == address else "moved"


@dataclass(slots=True)
class _Known:
    """A session in memory: where the last turn that started left it, and the claims of those that go on, in order."""

    left_at: str | None = None
    left_by: int = 0
    seen: dict[str, str] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)

    @property
    def home(self) -> str | None:
        """None while no turn has started and none goes on."""
        if self.claims and self.claims[-1].number > self.left_by:
            return self.claims[-1].home
        return self.left_at


class Sessions:
    """The sessions of one coordinator."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._numbers = count(1)

    async def of(self, consumer: str, name: str) -> Session | None:
        """A session of this consumer's, if there ever was a turn in it."""
        key = consumer, name
        if key not in self._known:
            row = await self._journal.session(consumer, name)
            if row is not None and key not in self._known:
                self._remember(key, _Known(row.home, seen=dict(row.seen)))
        known = self._known.get(key)
        return None if known is None or known.home is None else Session(known.home, known.seen)

    def claim(self, consumer: str, name: str, address: Address, *, may_move: bool) -> Claim:
        """Let a turn go on in this session at this address, which becomes its home; `of` has read it before.

        Raises:
            Conflict: it is at home elsewhere and may not move.
        """
        key = consumer, name
        known = self._known.get(key) or _Known()
        home = known.home
        if home not in (None, str(address)) and not may_move:
            raise Conflict(
                "session_peer_mismatch",
                f"session {name!r} is at home at {home}: ask there, or move it here with x-switchboard-move: yes",
                param="x-hermes-session-id",
            )
        claim = Claim(consumer, name, home, str(address), next(self._numbers))
        known.claims.append(claim)
        self._remember(key, known)
        if home != str(address):
            self._write(key, known)
        return claim

    def took_part(self, claim: Claim, address: str, turn_id: str, *, did_start: bool, is_stored: bool) -> None:
        """Its turn is over; where it did not start, the claim is void.

        `is_stored` says that the agent there holds everything up to this turn.
        """
        key = claim.consumer, claim.name
        known = self._known[key]  # it is not forgotten while it has claims
        was_at_home = known.home
        known.claims.remove(claim)
        if did_start and claim.number > known.left_by:
            known.left_at, known.left_by = address, claim.number
        if is_stored:
            known.seen = {**known.seen, address: max(turn_id, known.seen.get(address, ""))}
        if did_start or known.home != was_at_home:
            self._write(key, known)

    def _write(self, key: tuple[str, str], known: _Known) -> None:
        consumer, name = key
        if known.home is None:
            self._journal.forget_session(consumer, name)
            return
        self._journal.remember_session(
            {"consumer": consumer, "session": name, "home": known.home, "seen": known.seen, "used_at": time.time()}
        )

    def _remember(self, key: tuple[str, str], known: _Known) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            oldest = next((each for each, session in self._known.items() if not session.claims), None)
            if oldest is not None:
                del self._known[oldest]

    async def said(
        self, consumer: str, name: str, *, after: str | None = None, elsewhere_than: str | None = None
    ) -> list[Message]:
        """What was asked and answered in this session behind turn `after`, as messages, oldest first.

        What was answered by the address `elsewhere_than` is left out, and what is too much: the oldest.
        """
        rows = await self._journal.session_turns(consumer, name, after, TURNS_TOLD)
        messages: list[Message] = []
        characters = 0
        for row in reversed(rows):
            exchange = await self._exchange(row, elsewhere_than)
            characters += sum(len(text_of(message)) for message in exchange)
            if characters > CHARACTERS_TOLD:
                break
            messages = exchange + messages
        return messages

    async def _exchange(self, row: Row[Any], elsewhere_than: str | None) -> list[Message]:
        turn = folded(await self._journal.events(row.id, 0))
        if turn.accepted.get("mode") not in ("", "any") or not turn.lanes or not turn.lanes[0].text or not row.question:
            return []
        if turn.lanes[0].address == elsewhere_than:
            return []
        asked = next((each for each in reversed(json.loads(row.question)) if each.get("role") == "user"), None)
        if asked is None:
            return []
        return [asked, {"role": "assistant", "content": turn.lanes[0].text}]


class SessionQuestion:
    """A question within a session: it brings along what the address that it goes to does not know."""

    def __init__(
        self,
        chat: ChatRequest,
        consumer: str,
        name: str,
        session: Session | None,
        sessions: Sessions,
        peers: dict[str, Peer],
        peer_session: str,
        *,
        is_group: bool,
    ) -> None:
        """`session` is how it was before this turn; `peer_session` the id that peers see.

        A group's lanes know what their own peers know: nothing is brought along.
        """
        self._chat = chat
        self._consumer = consumer
        self._name = name
        self._session = session
        self._sessions = sessions
        self._peers = peers
        self._peer_session = peer_session
        self._is_group = is_group

    async def chat(self, address: Address) -> bytes:
        """See `Question.chat`: what an address missed stands in the user's message, marked."""
        session = self._session
        if self._is_group or session is None:
            return self._chat.for_peer(model_of(address))
        missed = await self._sessions.said(
            self._consumer, self._name, after=session.seen.get(str(address)), elsewhere_than=str(address)
        )
        if not missed:
            return self._chat.for_peer(model_of(address))
        return self._chat.for_peer(model_of(address), with_missed(self._chat.messages, missed))

    async def run(self, address: Address) -> dict[str, Any]:
        """See `Question.run`: the history is the client's, else the journal's, else the peer's own."""
        messages = self._chat.messages
        history: list[Message] = []
        if sum(message.get("role") in ("user", "assistant") for message in messages) <= 1:
            if not self._is_group:
                history = await self._sessions.said(self._consumer, self._name)
            history = history or await self._peers_own(address)
        return run_of(messages, history, self._peer_session)

    async def _peers_own(self, address: Address) -> list[Message]:
        """What the peer's agent has stored; only a default profile's is reached through its proxy."""
        if address.profile != DEFAULT_PROFILE:
            return []
        with suppress(PeerError):
            told = await self._peers[address.peer].session_messages(self._peer_session)
            kept: list[Message] = [
                each for each in told if each.get("role") in ("user", "assistant") and each.get("content")
            ]
            return kept[-MESSAGES_TOLD:]
        return []
