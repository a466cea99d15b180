"""`POST /v1/responses`: one address, passed through. It is no turn: the journal does not have it, nobody can join it.

An agent is asked for a stream, whatever the client wants: on a stream alone can it notice that the client left.
hermes-agent 0.19.0 does so while its model or a tool is silent, and runs on to its end while text flows.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext

from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, Headers, leaving_with_client
from switchboard_relay.wire import Header

from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import (
    DeadlineExceeded,
    MalformedRequest,
    PeerBusy,
    PeerError,
    PeerFailed,
    PeerOutcomeUnknown,
)
from switchboard_coordinator.groups.routing import plan
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.peers.admission import Admission
from switchboard_coordinator.peers.peer import Frames, Peer
from switchboard_coordinator.peers.refusal import pause_seconds
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.turns import session
from switchboard_coordinator.turns.lane import PATIENCE_SECONDS
from switchboard_coordinator.turns.question import model_of
from switchboard_coordinator.turns.turns import CLIENT_LEFT

from .raw_crossing import of_address
from .reply import BODY_LIMIT_BYTES, QUIET_SECONDS, Reply, failures_told
from .response_request import End, ResponseRequest, read_end
from .terms import Terms, terms_of


class Responses:
    """The endpoint."""

    def __init__(self, peers: Mapping[str, Peer], roster: Roster, admission: Admission) -> None:
        self._peers = peers
        self._roster = roster
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        client = Client(receive)
        reply = Reply(scope, receive, send)
        asked = Asked.of(scope)
        async with failures_told(reply):
            terms = terms_of(scope["headers"])
            wanted = ResponseRequest.parse(await client.read(BODY_LIMIT_BYTES), terms.to)
            asked.line["model"] = wanted.model
            _refuse_what_a_turn_has(terms)
            address = self._address(wanted.model)
            asked.require(address)
            asked.count_turn()
            headers = session.to_peer(scope["headers"], consumer=asked.consumer, request_id=asked.request_id)
            told = of_address(address)
            reply.headers = told
            async with leaving_with_client(client), _within(terms.deadline_ms):
                async with _kept_warm(reply) if wanted.is_stream else nullcontext():
                    end = await self._ask(address, wanted, headers, asked.consumer, told, reply)
                asked.line["outcome"] = "done" if end.failure is None else "failed"
                if wanted.is_stream:
                    await reply.end()
                elif end.failure is None:
                    await reply.whole(end.response)
                else:
                    raise PeerFailed(f"{address} failed: {end.failure}")
        if client.has_left:
            asked.line["outcome"] = CLIENT_LEFT

    def _address(self, model: str) -> Address:
        """The one that is asked.

        Raises:
            ModelNotFound: there is none.
            MalformedRequest: it is a group.
        """
        route = plan(model, self._roster.now)
        if route.is_group:
            raise MalformedRequest(f"a response is one agent's: {model} is a group, ask one address", param="model")
        return route.lanes[0]

    async def _ask(
        self,
        address: Address,
        wanted: ResponseRequest,
        headers: Headers,
        consumer: str,
        told: list[Header],
        reply: Reply,
    ) -> End:
        """Ask, and ask again only where the agent said that it had no room and did not begin.

        The session headers of the answer go into `told`.
        """
        body = wanted.for_peer(model_of(address), consumer)
        began = time.monotonic()
        while True:
            async with self._admission.place(address.peer, consumer):
                try:
                    async with self._peers[address.peer].events(
                        address.profile, "/v1/responses", method=b"POST", headers=headers, body=body
                    ) as stream:
                        told += session.to_client(stream.headers, consumer=consumer)
                        end = await _read(stream, address, reply if wanted.is_stream else None)
                except PeerBusy as error:
                    # To be said while the place is held, so that the limit is counted from the turns that run.
                    self._admission.lower(address.peer, pause_seconds(error.retry_after))
                    if time.monotonic() - began > PATIENCE_SECONDS:
                        raise
                    continue
                except PeerError as error:
                    self._roster.turned(address, "interrupted" if error.started == "unknown" else "failed", error.code)
                    raise
            self._roster.turned(address, "done" if end.failure is None else "failed")
            return end


async def _read(stream: Frames, address: Address, reply: Reply | None) -> End:
    """Go through a stream to its end, and show it to a client that wants it."""
    if reply is not None:
        await reply.begin()
    while frames := await stream.next():
        if reply is not None:
            await reply.show(frames)
        end = next((end for end in map(read_end, frames) if end is not None), None)
        if end is not None:
            await stream.settle()
            return end
    raise PeerOutcomeUnknown(f"{address} ended its answer without its last event; it may have run")


def _refuse_what_a_turn_has(terms: Terms) -> None:
    refused = {
        "idempotency-key": terms.key,
        "x-switchboard-on-disconnect": terms.policy if terms.policy == "detach" else None,
        "x-switchboard-transport": terms.transport,
    }
    for name, value in refused.items():
        if value is not None:
            words = f"a response is passed through and is no turn of ours, so {name} has no meaning here"
            raise MalformedRequest(f"{words}: use /v1/chat/completions or /api/turns", param=name)


@asynccontextmanager
async def _kept_warm(reply: Reply) -> AsyncIterator[None]:
    """Send comments while this block shows nothing."""

    async def warm() -> None:
        while True:
            await asyncio.sleep(QUIET_SECONDS / 2)
            await reply.keep_warm(QUIET_SECONDS / 2)

    warming = asyncio.create_task(warm())
    try:
        yield
    finally:
        warming.cancel()
        await asyncio.wait((warming,))


@asynccontextmanager
async def _within(deadline_ms: int | None) -> AsyncIterator[None]:
    """Raises DeadlineExceeded: the block took longer."""
    try:
        async with asyncio.timeout(None if deadline_ms is None else deadline_ms / 1000):
            yield
    except TimeoutError:
        raise DeadlineExceeded(f"the response did not end within {deadline_ms} ms") from None
