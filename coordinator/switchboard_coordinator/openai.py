"""The OpenAI surface: models and chat completions."""

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, Headers, leaving_with_client

from . import session, sse
from .address import Address
from .chat import ChatRequest, says_that_it_failed
from .chunks import Completion, arrangement
from .edge import Asked
from .errors import ModelNotFound
from .fanout import TurnEvent
from .peer import PeerAnswer
from .reply import BODY_LIMIT_BYTES, Reply, failures_told
from .roster import Roster
from .routing import Plan, model_ids, plan
from .turns import QUIET_SECONDS, Question, Turns


class Models:
    """`GET /v1/models` and `GET /v1/models/{id}`: what can be asked for, whether it is up or not."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._created = int(time.time())

    async def all(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's shape of an endpoint
        """Every address and every group."""
        models = [self._model(model) for model in model_ids(self._roster.now)]
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
    """`POST /v1/chat/completions`, an ASGI endpoint of its own: a client that leaves takes its lanes with it."""

    def __init__(self, roster: Roster, turns: Turns) -> None:
        self._roster = roster
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = Client(receive)
        reply = Reply(scope, receive, send)
        async with failures_told(reply):
            await self._answer(scope, client, reply)
        if client.has_left:
            Asked.of(scope).line["outcome"] = "client_left"

    async def _answer(self, scope: Scope, client: Client, reply: Reply) -> None:
        asked = Asked.of(scope)
        chat = ChatRequest.parse(await client.read(BODY_LIMIT_BYTES))
        asked.line["model"] = chat.model
        route = plan(chat.model, self._roster.now)
        headers = session.to_peer(scope["headers"], consumer=asked.consumer, request_id=asked.request_id)
        question = Question(chat, headers)
        async with leaving_with_client(client):
            match route.is_group, chat.is_stream:
                case False, True:
                    await self._pass_through(route.lanes[0], question, asked, reply)
                case False, False:
                    await self._fold(route.lanes[0], question, asked, reply)
                case True, True:
                    await self._stream_group(route, question, reply)
                case _:
                    await self._fold_group(route, question, reply)

    async def _pass_through(self, address: Address, question: Question, asked: Asked, reply: Reply) -> None:
        """The peer's frames as they are; only comments of ours may stand between them."""
        async with self._turns.ask(address, question) as answer:
            await reply.begin(_who(address, answer.headers, asked))
            while not answer.is_done:
                frames = await _frames(answer, reply)
                await reply.show(frames)
                if any(map(says_that_it_failed, frames)):
                    asked.line["outcome"] = "peer_failed"
            await reply.end()

    async def _fold(self, address: Address, question: Question, asked: Asked, reply: Reply) -> None:
        """The JSON that the agent would have sent. It is asked for a stream, for only there it notices who leaves."""
        fold, headers = await self._turns.ask_one(address, question)
        await reply.whole(fold.completion(), _who(address, headers, asked))

    async def _stream_group(self, route: Plan, question: Question, reply: Reply) -> None:
        chat = question.chat
        completion = Completion(chat.model, chat.answers, route.lanes)
        viewer = _Viewer(completion, reply)
        results = await self._turns.ask_all(route, question, arrangement(chat.answers, route.lanes), viewer)
        await reply.show(completion.closing(results))
        await reply.end()

    async def _fold_group(self, route: Plan, question: Question, reply: Reply) -> None:
        chat = question.chat
        completion = Completion(chat.model, chat.answers, route.lanes)
        results = await self._turns.ask_all(
            route, question, arrangement(chat.answers, route.lanes), _Collector(completion)
        )
        await reply.whole(completion.whole(results))


async def _frames(answer: PeerAnswer, reply: Reply) -> list[bytes]:
    """The peer's next frames; comments keep the line warm until they come."""
    while True:
        try:
            async with asyncio.timeout(QUIET_SECONDS):
                return await answer.frames()
        except TimeoutError:
            await reply.show([sse.KEEPALIVE])


def _who(address: Address, answered: Headers, asked: Asked) -> Headers:
    """Who answered, and in which session."""
    return (
        (b"x-switchboard-peer", address.peer.encode("ascii")),
        (b"x-switchboard-profile", address.profile.encode("ascii")),
        *session.to_client(answered, consumer=asked.consumer),
    )


class _Collector:
    """Waits for a group's whole answer."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    async def accepted(self) -> None:
        """Nothing to show yet."""

    async def show(self, events: list[TurnEvent]) -> None:
        """Keep it."""
        for event in events:
            self._completion.note(event)

    async def quiet(self) -> None:
        """A client that does not stream cannot be shown that we are still here."""


class _Viewer:
    """Sees a group's turn live. The stream begins once a peer has taken the turn: until then a status can still tell
    that nobody did."""

    def __init__(self, completion: Completion, reply: Reply) -> None:
        self._completion = completion
        self._reply = reply
        self._held: list[bytes] = completion.opening()

    async def accepted(self) -> None:
        """Begin."""
        if not self._reply.is_begun:
            await self._reply.begin()
            await self._reply.show(self._held)

    async def show(self, events: list[TurnEvent]) -> None:
        """Show it, or hold it until the stream has begun."""
        frames = [frame for event in events for frame in self._completion.frames(event)]
        if self._reply.is_begun:
            await self._reply.show(frames)
        else:
            self._held += frames

    async def quiet(self) -> None:
        """Begin at the latest now; later, keep the line warm."""
        if self._reply.is_begun:
            await self._reply.show([sse.KEEPALIVE])
        else:
            await self.accepted()
