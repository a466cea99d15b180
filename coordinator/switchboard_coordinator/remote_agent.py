"""`POST /api/remote-agent/invoke`: one message to one target, in the shape of the issue that this project grew from."""

import time

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, leaving_with_client

from . import session
from .chat import ChatRequest
from .edge import Asked
from .errors import MalformedRequest
from .reply import BODY_LIMIT_BYTES, Reply, failures_told
from .roster import Roster
from .routing import plan
from .turns import Question, Turns


class Invocation(BaseModel):
    """What is asked: `{"target": "nas", "message": "ping"}`."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(min_length=1)
    message: str = Field(min_length=1)


class Invoke:
    """The endpoint."""

    def __init__(self, roster: Roster, turns: Turns) -> None:
        self._roster = roster
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `{"target", "peer", "profile", "reply", "duration_ms", "usage"}`, or a problem."""
        client = Client(receive)
        reply = Reply(scope, receive, send)
        async with failures_told(reply):
            invocation = _invocation(await client.read(BODY_LIMIT_BYTES))
            async with leaving_with_client(client):
                await self._invoke(invocation, Asked.of(scope), reply)

    async def _invoke(self, invocation: Invocation, asked: Asked, reply: Reply) -> None:
        asked.line["model"] = invocation.target
        route = plan(invocation.target, self._roster.now)
        if route.is_group:
            raise MalformedRequest("`target` is one address, `profile@peer`; groups are asked at /v1/chat/completions")
        address = route.lanes[0]
        messages = [{"role": "user", "content": invocation.message}]
        chat = ChatRequest.parse(orjson.dumps({"model": invocation.target, "messages": messages}))
        headers = session.to_peer((), consumer=asked.consumer, request_id=asked.request_id)
        began = time.perf_counter()
        fold, _ = await self._turns.ask_one(address, Question(chat, headers))
        await reply.whole(
            {
                "target": str(address),
                "peer": address.peer,
                "profile": address.profile,
                "reply": fold.text,
                "duration_ms": round((time.perf_counter() - began) * 1000),
                "usage": fold.finish.usage if fold.finish else None,
            }
        )


def _invocation(body: bytes) -> Invocation:
    try:
        return Invocation.model_validate_json(body)
    except ValidationError:
        raise MalformedRequest('the body is {"target": "profile@peer", "message": "…"}') from None
