"""Sessions: where each is at home, and what an address missed of it. Knows each consumer's own words alone.

A session goes on at its home address, whose agent holds its history. Sent elsewhere it moves, and the new address is
given what it does not hold: within the message on `chat`, as its history on `runs`. A group's turn uses each peer's own
session and moves nothing.
"""

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import orjson
from sqlalchemy import Row

from .address import DEFAULT_PROFILE, Address
from .chat import ChatRequest
from .errors import Conflict, PeerError
from .journal import Journal
from .peer import Peer
from .question import Message, model_of, run_of, with_missed
from .turn import Transport, folded

REMEMBERED = 10_000
"""So many sessions are held in memory; others are read when they are asked for."""
TURNS_TOLD = 100
"""So many turns of a session are told to an address that missed them, the newest ones."""
MESSAGES_TOLD = 200

Affinity = Literal["hit", "miss", "moved", "off"]


@dataclass(frozen=True, slots=True)
class Session:
    """Where a session is at home; `seen` is address → the turn up to which the agent there has stored everything.

    A run adds nothing to that: of the history that it is given its agent stores nothing (hermes-agent 0.19.0).
    """

    home: str
    seen: dict[str, str] = field(default_factory=dict)


class Claim(NamedTuple):
    """One turn's hold on a session, and what to fall back to where it did not start."""

    consumer: str
    name: str
    affinity: Affinity
    before: Session | None


class Sessions:
    """The sessions of one coordinator."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._known: OrderedDict[tuple[str, str], Session] = OrderedDict()

    async def of(self, consumer: str, name: str) -> Session | None:
        """A session of this consumer's, if there ever was a turn in it."""
        session = self._known.get((consumer, name))
        if session is None:
            row = await self._journal.session(consumer, name)
            if row is not None and (consumer, name) not in self._known:
                self._remember(consumer, name, Session(row.home, dict(row.seen)))
            session = self._known.get((consumer, name))
        return session

    def claim(self, consumer: str, name: str, address: Address, *, may_move: bool) -> Claim:
        """Let a turn go on in this session at this address, which becomes its home; `of` has read it before.

        Raises:
            Conflict: it is at home elsewhere and may not move.
        """
        session = self._known.get((consumer, name))
        home = session.home if session is not None else str(address)
        if home != str(address) and not may_move:
            raise Conflict(
                "session_peer_mismatch",
                f"session {name!r} is at home at {home}: ask there, or move it here with x-switchboard-move: yes",
                param="x-hermes-session-id",
            )
        affinity: Affinity = "miss" if session is None else "hit" if home == str(address) else "moved"
        if affinity != "hit":
            self._keep(consumer, name, replace(session or Session(home), home=str(address)))
        return Claim(consumer, name, affinity, session)

    def took_part(self, claim: Claim, address: str, turn_id: str, *, did_start: bool, transport: Transport) -> None:
        """Its turn is over: the address holds everything up to it; or it did not start, and the claim is void."""
        session = self._known.get((claim.consumer, claim.name))
        if session is None:
            return
        if did_start:
            seen = {**session.seen, address: turn_id} if transport == "chat" else session.seen
            self._keep(claim.consumer, claim.name, replace(session, home=address, seen=seen))
        elif claim.before is None:
            del self._known[claim.consumer, claim.name]
            self._journal.forget_session(claim.consumer, claim.name)
        elif session.home == address and claim.before.home != address:
            self._keep(claim.consumer, claim.name, replace(session, home=claim.before.home))

    def _keep(self, consumer: str, name: str, session: Session) -> None:
        self._remember(consumer, name, session)
        self._journal.remember_session(
            {"consumer": consumer, "session": name, "home": session.home, "seen": session.seen, "used_at": time.time()}
        )

    def _remember(self, consumer: str, name: str, session: Session) -> None:
        self._known[consumer, name] = session
        self._known.move_to_end((consumer, name))
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    async def said(
        self, consumer: str, name: str, *, after: str | None = None, elsewhere_than: str | None = None
    ) -> list[Message]:
        """What was asked and answered in this session behind turn `after`, as messages, oldest first.

        What was answered by the address `elsewhere_than` is left out.
        """
        rows = await self._journal.session_turns(consumer, name, after, TURNS_TOLD)
        messages: list[Message] = []
        for row in rows:
            messages += await self._exchange(row, elsewhere_than)
        return messages

    async def _exchange(self, row: Row[Any], elsewhere_than: str | None) -> list[Message]:
        turn = folded(await self._journal.events(row.id, 0))
        if turn.accepted.get("mode") not in ("", "any") or not turn.lanes or not turn.lanes[0].text or not row.question:
            return []
        if turn.lanes[0].address == elsewhere_than:
            return []
        asked = next((each for each in reversed(orjson.loads(row.question)) if each.get("role") == "user"), None)
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
