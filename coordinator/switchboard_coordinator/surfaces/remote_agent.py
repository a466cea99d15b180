"""`POST /api/remote-agent/invoke`: one message to one target, in the shape of the issue that this project grew from."""

import asyncio
import time

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, leaving_with_client

from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.failure import failure_of
from switchboard_coordinator.turns.turns import Turns

from .intake import Intake
from .reply import BODY_LIMIT_BYTES, Reply, failures_told


class Invocation(BaseModel):
    """What is asked: `{"target": "nas", "message": "ping"}`."""

    model_config = ConfigDict(extra="forbid")

    target: str = Field(min_length=1)
    message: str = Field(min_length=1)


class Invoke:
    """The endpoint."""

    def __init__(self, intake: Intake, turns: Turns) -> None:
        self._intake = intake
        self._turns = turns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `{"target", "peer", "profile", "reply", "duration_ms", "usage"}`, or a problem."""
        client = Client(receive)
        reply = Reply(scope, receive, send)
        async with failures_told(reply):
            invocation = _invocation(await client.read(BODY_LIMIT_BYTES))
            asking = await self._intake.message(scope, invocation.target, invocation.message)
            if asking.plan.mode:
                raise MalformedRequest("`target` is one address here, such as nas or work@nas", param="target")
            began = time.perf_counter()
            live, _ = await self._turns.open(asking)
            with self._turns.attended(live):
                async with leaving_with_client(client):
                    await asyncio.shield(live.over)
            if not live.is_over:
                return
            if live.turn.state != "done":
                raise failure_of(live.turn)
            lane = live.turn.lanes[0]
            profile, _, peer = lane.address.partition("@")
            await reply.whole(
                {
                    "target": lane.address,
                    "peer": peer,
                    "profile": profile,
                    "reply": lane.text,
                    "duration_ms": round((time.perf_counter() - began) * 1000),
                    "usage": lane.end.get("usage"),
                }
            )


def _invocation(body: bytes) -> Invocation:
    try:
        return Invocation.model_validate_json(body)
    except ValidationError:
        raise MalformedRequest('the body is {"target": "profile@peer", "message": "…"}') from None
