"""The turn surface: `/api/turns`, where every turn can be begun, found, read, cancelled and answered."""

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, leaving_with_client

from switchboard_coordinator import sse
from switchboard_coordinator.errors import Conflict, JournalNeeded, JournalUnavailable, MalformedRequest
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.keys.scopes import CANCEL_OTHERS
from switchboard_coordinator.turn import OVER, Event, folded
from switchboard_coordinator.turns.cursor import Cursor
from switchboard_coordinator.turns.live import LiveTurn
from switchboard_coordinator.turns.reader import Reader
from switchboard_coordinator.turns.runs_lane import RunsLane
from switchboard_coordinator.turns.turns import Turns

from .intake import Intake
from .reply import BODY_LIMIT_BYTES, QUIET_SECONDS, Reply, failures_told

PAGE = 50
LONGEST_PAGE = 500
SMALL_BODY_BYTES = 64 * 1024


class Approval(BaseModel):
    """The body of `POST /api/turns/{id}/approvals/{approval}`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    choice: str = Field(pattern="^(once|session|always|deny)$")


class Cancel(BaseModel):
    """The body of `POST /api/turns/{id}/cancel`, which may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    lane: int | None = Field(None, ge=0)


class TurnSurface:
    """The endpoints that answer with one JSON value."""

    def __init__(self, intake: Intake, turns: Turns) -> None:
        self._intake = intake
        self._turns = turns

    async def begin(self, request: Request) -> Response:
        """`POST /api/turns`: 202 once the turn is written down."""
        asking = await self._intake.turn(request.scope, await _body(request, BODY_LIMIT_BYTES))
        live, is_joined = await self._turns.open(asking)
        if not is_joined and not live.was_written and not await live.written():
            raise JournalUnavailable("the turn could not be written down, so nobody was asked")
        Asked.of(request.scope).line["turn"] = live.id
        headers = {"location": f"/api/turns/{live.id}", "x-switchboard-turn": live.id}
        return JSONResponse(_told(live), status_code=200 if is_joined else 202, headers=headers)

    async def all(self, request: Request) -> Response:
        """`GET /api/turns`: mine, the newest first, a page at a time."""
        given = request.query_params
        limit = _number(given.get("limit", str(PAGE)), "limit", 1, LONGEST_PAGE)
        state = given.get("state")
        if state is not None and state not in OVER | {"queued", "running"}:
            raise MalformedRequest("`state` is queued, running, done, failed, cancelled or interrupted", param="state")
        consumer = Asked.of(request.scope).consumer
        rows = await self._turns.journal.rows(
            consumer,
            state=state,
            known=() if state is None else self._turns.known_in(state, consumer),
            session=given.get("session"),
            before=given.get("before"),
            limit=limit + 1,
        )
        page = [self._row(row._mapping) for row in rows[:limit]]
        return JSONResponse({"turns": page, "next": page[-1]["id"] if len(rows) > limit else None})

    def _row(self, row: Mapping[Any, Any]) -> dict[str, Any]:
        task = self._turns.task(row["id"])
        return {
            "id": row["id"],
            "state": task.live.turn.state if task is not None else row["state"],
            "to": row["target"],
            "policy": row["policy"],
            "transport": row["transport"],
            "session": row["session"],
            "created_at": row["created_at"],
            "ended_at": row["ended_at"],
        }

    async def one(self, request: Request) -> Response:
        """`GET /api/turns/{id}`: the turn, with what each lane said so far."""
        live = await self._mine(request)
        await live.shown()
        told = _told(live)
        has_text = self._turns.journal.keeps_text or not live.was_left
        told["lanes"] = [{**lane.told(), "text": lane.text if has_text else None} for lane in live.turn.lanes]
        return JSONResponse(told)

    async def cancel(self, request: Request) -> Response:
        """`POST /api/turns/{id}/cancel`: one lane or all; 200 when it is under way, or was over before."""
        asked = Asked.of(request.scope)
        wanted = _parsed(Cancel, await _body(request, SMALL_BODY_BYTES) or b"{}")
        turn_id = request.path_params["id"]
        live = await self._turns.find(turn_id, None if asked.who.scopes.allows(CANCEL_OTHERS) else asked.consumer)
        if wanted.lane is not None and wanted.lane >= len(live.turn.lanes):
            raise MalformedRequest(f"the turn has lanes 0 to {len(live.turn.lanes) - 1}", param="lane")
        if live.consumer != asked.consumer:
            asked.note("turn.cancel", turn_id)
        task = self._turns.task(turn_id)
        if task is not None:
            task.cancel("asked", wanted.lane)
            await live.written()  # should this process end now, the next one goes on with it
        return JSONResponse(_told(live))

    async def approve(self, request: Request) -> Response:
        """`POST /api/turns/{id}/approvals/{approval}`: answer an agent that asks."""
        wanted = _parsed(Approval, await _body(request, SMALL_BODY_BYTES))
        live = await self._mine(request)
        approval = request.path_params["approval"]
        task = self._turns.task(live.id)
        lane = next((lane for lane in live.turn.lanes if approval in lane.approvals), None)
        conversation = task.conversations[lane.index] if task is not None and lane is not None else None
        if not isinstance(conversation, RunsLane):
            raise Conflict("approval_not_pending", f"nobody waits for {approval[:80]!r} in this turn")
        await conversation.approve(approval, wanted.choice, Asked.of(request.scope).consumer)
        return JSONResponse(_told(live))

    async def _mine(self, request: Request) -> LiveTurn:
        return await self._turns.find(request.path_params["id"], Asked.of(request.scope).consumer)


class TurnEvents:
    """`GET /api/turns/{id}/events`: server-sent events from any point on, live or long over."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one reader."""
        client = Client(receive)
        reply = Reply(scope, receive, send)
        async with failures_told(reply):
            await client.read(SMALL_BODY_BYTES)
            request = Request(scope)
            asked = Asked.of(scope)
            live = await self._turns.find(request.path_params["id"], asked.consumer)
            cursor = _cursor(request)
            if not self._turns.journal.keeps_text and (cursor.event > 0 or live.was_left):
                raise JournalNeeded("the journal is off here: a turn is read while it goes on, and from its beginning")
            reply.headers = ((b"x-switchboard-turn", live.id.encode("ascii")),)
            with self._turns.attended(live):
                async with leaving_with_client(client):
                    await self._read(live, cursor, reply)

    async def _read(self, live: LiveTurn, cursor: "Cursor", reply: Reply) -> None:
        await reply.begin()
        after = cursor.event
        if cursor.restarts < live.restarts:
            after = await self._snapshot(live, reply)
        reader = Reader(live, self._turns.journal, after)
        while True:
            try:
                async with asyncio.timeout(QUIET_SECONDS / 2):
                    events = await reader.next()
            except TimeoutError:
                await reply.keep_warm(QUIET_SECONDS / 2)
                continue
            if not events:
                break
            await reply.show([_frame(live, event) for event in events])
        await reply.end()

    async def _snapshot(self, live: LiveTurn, reply: Reply) -> int:
        """Show what the turn came to before it ended, in one event: what was shown before a restart may be lost."""
        events = [event for event in await self._turns.journal.events(live.id, 0) if event.id <= live.visible]
        while events and events[-1].name.partition(".")[2] in OVER:
            events.pop()
        turn = folded(events)
        told = {
            "turn": live.id,
            "id": turn.last_id,
            "event": "turn.snapshot",
            "state": turn.state,
            "lanes": [{**lane.told(), "text": lane.text} for lane in turn.lanes],
        }
        cursor = Cursor(turn.last_id, live.restarts)
        await reply.show([b"id: %b\n" % str(cursor).encode() + sse.frame(orjson.dumps(told), event=b"turn.snapshot")])
        return turn.last_id


def _cursor(request: Request) -> Cursor:
    """How far its reader has come: a browser that comes back says it in a header, beside the address it had first."""
    return Cursor.parse(request.headers.get("last-event-id") or request.query_params.get("after", "0"))


def _frame(live: LiveTurn, event: Event) -> bytes:
    told: dict[str, Any] = {"turn": live.id, "id": event.id, "event": event.name, "at": event.at}
    if event.lane is not None:
        told["lane"] = event.lane
        told["address"] = live.turn.lanes[event.lane].address
    cursor = Cursor(event.id, live.restarts)
    name = event.name.encode("ascii")
    return b"id: %b\n" % str(cursor).encode("ascii") + sse.frame(orjson.dumps({**told, **event.data}), event=name)


def _told(live: LiveTurn) -> dict[str, Any]:
    turn = live.turn
    accepted = turn.accepted
    return {
        "id": live.id,
        "state": turn.state,
        "to": accepted.get("to"),
        "mode": accepted.get("mode") or None,
        "policy": accepted.get("policy"),
        "session": live.session,
        "last_event": turn.last_id,
        "lanes": [lane.told() for lane in turn.lanes],
        **{name: value for name, value in turn.end.items() if name != "kind"},
    }


def _number(text: str, name: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not least <= int(text) <= most:
        raise MalformedRequest(f"`{name}` is a number from {least} to {most}", param=name)
    return int(text)


async def _body(request: Request, limit: int) -> bytes:
    return await Client(request.receive).read(limit)


def _parsed(kind: Any, body: bytes) -> Any:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise MalformedRequest(f"`{place or 'the body'}`: {first['msg']}", param=place or None) from None
