"""The OpenAI surface: models and chat completions. A client reads its turn; the turn goes on as its policy says."""

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, Headers, leaving_with_client

from switchboard_coordinator.address import Address, parse_target
from switchboard_coordinator.chat import is_done, whole_of
from switchboard_coordinator.errors import ModelNotFound
from switchboard_coordinator.failure import failure_of
from switchboard_coordinator.groups.chunks import Completion
from switchboard_coordinator.groups.routing import model_ids
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.turns.asking import Asking
from switchboard_coordinator.turns.live import LiveTurn
from switchboard_coordinator.turns.reader import Reader
from switchboard_coordinator.turns.session import SESSION_HEADERS
from switchboard_coordinator.turns.turns import CLIENT_LEFT, ONE_LANE, Turns

from .intake import Intake
from .reply import BODY_LIMIT_BYTES, QUIET_SECONDS, Reply, failures_told

_BEFORE_AN_ANSWER = frozenset(
    (
        *("turn.accepted", "turn.failed", "turn.interrupted", "turn.cancelled"),
        *("lane.queued", "lane.sent", "lane.refused", "lane.failed", "lane.interrupted", "lane.cancelled"),
    )
)
"""While nothing but these came, a status can still tell what went wrong."""


class Models:
    """`GET /v1/models` and `GET /v1/models/{id}`: what can be asked for, whether it is up or not."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._created = int(time.time())

    async def all(self, request: Request) -> Response:
        """Every address, and every group in every mode, that this key may ask."""
        scopes = Asked.of(request.scope).who.scopes
        ids = [model for model in model_ids(self._roster.now) if scopes.allows(parse_target(model))]
        models = [self._model(model) for model in ids]
        return JSONResponse({"object": "list", "data": models})

    async def one(self, request: Request) -> Response:
        """One of them.

        Raises:
            ModelNotFound: there is no such id.
        """
        model = request.path_params["id"]
        if model not in model_ids(self._roster.now):
            raise ModelNotFound(f"there is no model {model!r}; GET /v1/models lists all")
        return JSONResponse(self._model(model))

    def _model(self, model: str) -> dict[str, object]:
        # hermes-webui shows `name` where there is one.
        return {
            "id": model,
            "object": "model",
            "created": self._created,
            "owned_by": "hermes-switchboard",
            "name": model,
        }


class ChatCompletions:
    """`POST /v1/chat/completions`, an ASGI endpoint of its own, so that it notices at once when its client leaves."""

    def __init__(self, intake: Intake, turns: Turns) -> None:
        self._intake = intake
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = Client(receive)
        reply = Reply(scope, receive, send)
        async with failures_told(reply):
            await self._answer(scope, client, reply)
        if client.has_left:
            Asked.of(scope).line["outcome"] = CLIENT_LEFT

    async def _answer(self, scope: Scope, client: Client, reply: Reply) -> None:
        asked = Asked.of(scope)
        asking = await self._intake.chat(scope, await client.read(BODY_LIMIT_BYTES))
        asked.line["model"] = asking.chat.model
        chat, plan = asking.chat, asking.plan
        tap = _Tap(reply) if chat.is_stream and not plan.mode else None
        live, is_joined = await self._turns.open(asking, tap)
        asked.line["turn"] = live.id
        asked_headers = scope["headers"]
        reply.headers = _who(live, asked_headers)
        is_tapped = not is_joined and live.turn.lanes[0].transport == "chat"
        with self._turns.attended(live):
            async with leaving_with_client(client):
                if tap is not None and is_tapped:
                    await _pass_through(live, reply, tap)
                elif chat.is_stream:
                    await self._show(live, asking, asked_headers, reply)
                else:
                    await self._fold(live, asking, asked_headers, reply)
            if tap is not None:
                tap.is_open = False
            if live.is_over:
                asked.line["outcome"] = live.turn.state

    async def _show(self, live: LiveTurn, asking: Asking, asked: Headers, reply: Reply) -> None:
        """A turn's events as chunks, as they come."""
        completion = Completion(live.id, live.turn.accepted, model=asking.chat.model, created=int(time.time()))
        reader = Reader(live, self._turns.journal)
        frames: list[bytes] = []
        while True:
            try:
                async with asyncio.timeout(QUIET_SECONDS / 2):
                    events = await reader.next()
            except TimeoutError:
                await reply.keep_warm(QUIET_SECONDS / 2, frames)
                continue
            if not events:
                break
            for event in events:
                frames += completion.frames(event)
            if reply.is_begun or not all(event.name in _BEFORE_AN_ANSWER for event in events):
                if not reply.is_begun:
                    reply.headers = _who(live, asked)  # now it is known who took the turn
                await reply.begin()
                await reply.show(frames)
                frames = []
            elif live.is_over and live.turn.state != "done":
                raise failure_of(live.turn)
        await reply.begin()
        await reply.show(frames)
        await reply.end()

    async def _fold(self, live: LiveTurn, asking: Asking, asked: Headers, reply: Reply) -> None:
        """The whole answer as JSON; a single lane's as the agent would have sent it."""
        await asyncio.shield(live.over)
        turn = live.turn
        reply.headers = _who(live, asked)
        if turn.state != "done":
            raise failure_of(turn)
        if not turn.accepted["mode"] and turn.lanes[0].transport == "chat":
            await reply.whole(whole_of(turn.lanes[0].text, turn.lanes[0].end))
            return
        completion = Completion(live.id, turn.accepted, model=asking.chat.model, created=int(time.time()))
        reader = Reader(live, self._turns.journal)
        while events := await reader.next():
            for event in events:
                completion.frames(event)
        await reply.whole(completion.whole())


async def _pass_through(live: LiveTurn, reply: Reply, tap: "_Tap") -> None:
    """The peer's frames as they are, given by the lane itself; what tells their end waits until that is written."""
    while not live.over.done():
        await asyncio.wait((live.over,), timeout=QUIET_SECONDS / 2)
        await reply.keep_warm(QUIET_SECONDS / 2)
    if tap.held:
        await reply.begin()
        await reply.show(tap.held)
        if is_done(tap.held[-1]):
            await reply.end()
            return
    raise failure_of(live.turn)


def _who(live: LiveTurn, asked: Headers) -> Headers:
    """Which turn this is, who answers, and in which session: in the client's own words."""
    told = [(b"x-switchboard-turn", live.id.encode("ascii"))]
    if live.turn.accepted["mode"] in ONE_LANE:
        address = Address.of(live.turn.lanes[0].address)
        told += [
            (b"x-switchboard-peer", address.peer.encode("ascii")),
            (b"x-switchboard-profile", address.profile.encode("ascii")),
            (b"x-switchboard-affinity", live.claim.affinity(str(address)).encode("ascii") if live.claim else b"off"),
        ]
        told += [(name, value) for name, value in asked if name in SESSION_HEADERS]
    return tuple(told)


class _Tap:
    """Gives one client a lane's frames as they are, as long as it is there."""

    def __init__(self, reply: Reply) -> None:
        self.held: list[bytes] = []
        self.is_open = True
        self._reply = reply

    async def begin(self) -> None:
        """See `chat_lane.Tap.begin`."""
        if self.is_open:
            await self._reply.begin()

    async def show(self, frames: list[bytes]) -> None:
        """See `chat_lane.Tap.show`."""
        if self.is_open:
            await self._reply.show(frames)

    def hold(self, frames: list[bytes]) -> None:
        """See `chat_lane.Tap.hold`."""
        self.held += frames
