"""`/v1/responses`, streaming and not. A client that leaves a stream is not noticed: the turn runs to its end."""

import asyncio
import uuid
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import web

from . import answers, messages
from .completion import NO_USAGE
from .directives import parse
from .messages import Refused
from .record import Message, Turn
from .response import Response
from .turns import Turns
from .work import Cut, Died, Failed, Finished, Usage, Wait

KEPT = 100


@dataclass
class Stored:
    """One response: what is shown of it, and what the next one in its chain needs."""

    told: dict[str, Any]
    session: str
    instructions: str
    history: list[Message]


@dataclass
class ResponseStore:
    """The newest responses, and the last of each named conversation. It outlives a restart, as the real one does."""

    responses: dict[str, Stored] = field(default_factory=dict)
    conversations: dict[str, str] = field(default_factory=dict)

    def put(self, response: str, stored: Stored) -> None:
        """Keep it, and forget the oldest."""
        self.responses[response] = stored
        while len(self.responses) > KEPT:
            del self.responses[next(iter(self.responses))]


class Responses:
    """The routes."""

    def __init__(self, turns: Turns, store: ResponseStore) -> None:
        self._turns = turns
        self._store = store

    async def create(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/responses`."""
        refused = self._turns.draining() or self._turns.full()
        if refused is not None:
            return refused
        try:
            _, key = messages.session_headers(request.headers, is_chat=False)
            body = await answers.body_of(request)
            if body is None:
                return answers.refusal(Refused("Invalid JSON in request body"))
            stored = self._asked(body)
        except Refused as refusal:
            return answers.refusal(refusal)
        if stored is None:
            return answers.error(404, f"Previous response not found: {body.get('previous_response_id')}")
        *history, last = stored.history
        told: dict[str, Any] = {"session": stored.session, "history": history, "instructions": stored.instructions}
        stream = messages.is_true(body.get("stream"))
        turn = self._turns.begin("response", request, body, messages.text_of(last["content"]), stream=stream, **told)
        headers = {"X-Hermes-Session-Id": stored.session, **({"X-Hermes-Session-Key": key} if key else {})}
        answering = Answering(self._turns, self._store, request, turn, stored)
        try:
            return await (answering.stream(headers) if stream else answering.whole(headers))
        finally:
            self._turns.end(
                turn, "interrupted"
            )  # the gateway stops, or the connection was cut: what has ended stays so

    def _asked(self, body: dict[str, Any]) -> Stored | None:
        """The session, the instructions and the messages of this response; None where it follows an unknown one."""
        asked = messages.response_input(body)
        previous, conversation = body.get("previous_response_id"), body.get("conversation")
        told = messages.history(body.get("conversation_history"))
        if conversation:
            previous = self._store.conversations.get(conversation)
        session, instructions = str(uuid.uuid4()), body.get("instructions")
        if previous and not told:
            before = self._store.responses.get(previous)
            if before is None:
                return None
            told, session = before.history, before.session
            instructions = before.instructions if instructions is None else instructions
        return Stored({}, session, str(instructions or ""), [*told, *asked])

    async def show(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/responses/{response}`."""
        found = self._store.responses.get(request.match_info["response"])
        return _unknown(request) if found is None else answers.answer(found.told)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """`DELETE /v1/responses/{response}`."""
        if self._store.responses.pop(request.match_info["response"], None) is None:
            return _unknown(request)
        return answers.answer({"id": request.match_info["response"], "object": "response", "deleted": True})


class Answering:
    """One response on its way; `stored` has what was asked, and gets what is answered."""

    def __init__(self, turns: Turns, store: ResponseStore, request: web.Request, turn: Turn, stored: Stored) -> None:
        self._turns = turns
        self._store = store
        self._request = request
        self._turn = turn
        self._stored = stored
        self._response = Response(turn.body.get("model") or "hermes-agent")
        self._words = parse(turn.text)
        self._is_read = True

    async def whole(self, headers: dict[str, str]) -> web.StreamResponse:
        """The answer at the end."""
        await asyncio.sleep(self._words.hold)
        for step in self._turns.steps(self._turn, self._words):
            self._response.note(step)
            match step:
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case Cut() | Died():
                    answers.cut(self._request)
                    return web.StreamResponse()
                case Failed() | Finished():
                    self._keep("completed", step)
        return answers.answer(self._stored.told, headers)

    async def stream(self, headers: dict[str, str]) -> web.StreamResponse:
        """The answer as it comes."""
        response = answers.streaming(headers)
        await asyncio.sleep(self._words.hold)
        try:
            await response.prepare(self._request)
        except ConnectionError:
            self._is_read = False
        await self._write(response, self._response.created())
        self._keep("in_progress", None)
        for step in self._turns.steps(self._turn, self._words):
            if isinstance(step, Cut | Died):
                answers.cut(self._request)
                return response
            if isinstance(step, Wait):
                await answers.be_silent(
                    step.seconds, self._turns.gateway.keepalive_seconds, partial(self._write, response)
                )
            frames = [*self._response.frames(step)]
            if isinstance(step, Failed | Finished):
                self._keep("completed" if self._is_read else "incomplete", step)
            for frame in frames:
                await self._write(response, frame)
        return response

    def _keep(self, status: str, step: Failed | Finished | None) -> None:
        usage: Usage | None = None
        if step is not None:
            self._stored.history.append({"role": "assistant", "content": step.text})
            usage = step.usage if isinstance(step, Finished) and status == "completed" else NO_USAGE
        self._stored.told = self._response.envelope(status, usage)
        if messages.is_true(self._turn.body.get("store", True)):
            self._store.put(self._response.id, self._stored)
            if conversation := self._turn.body.get("conversation"):
                self._store.conversations[conversation] = self._response.id

    async def _write(self, response: web.StreamResponse, frame: bytes) -> None:
        if self._is_read:
            try:
                await response.write(frame)
            except ConnectionError:
                self._is_read = False


def _unknown(request: web.Request) -> web.Response:
    return answers.error(404, f"Response not found: {request.match_info['response']}")
