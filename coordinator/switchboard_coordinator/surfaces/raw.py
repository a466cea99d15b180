"""Raw access: `/peers/{peer}/v1/…` and `/peers/{peer}/profiles/{profile}/v1/…` are that agent's API, as it is.

A request goes there once, whatever happens, and no journal knows of it. What would start a turn first waits for one of
the peer's places.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from switchboard_relay import Client, leaving_with_client

from switchboard_coordinator.address import DEFAULT_PROFILE, Address
from switchboard_coordinator.errors import PeerError, RouteNotFound
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.keys.scopes import raw
from switchboard_coordinator.peers.admission import Admission
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.peers.refusal import pause_seconds
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.turns.turns import CLIENT_LEFT

from .edge import BrokenOff
from .raw_crossing import of_address, starts_a_turn, target_of, to_client, to_peer
from .reply import BODY_LIMIT_BYTES, Reply, failures_told

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


class Raw:
    """The endpoint of both routes."""

    def __init__(self, peers: Mapping[str, Peer], roster: Roster, admission: Admission) -> None:
        self._peers = peers
        self._roster = roster
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry one request to the agent, and its answer back."""
        client = Client(receive)
        asked = Asked.of(scope)
        async with failures_told(Reply(scope, receive, send)):
            address, target = self._where(Request(scope))
            body = await client.read(BODY_LIMIT_BYTES)
            is_turn = starts_a_turn(scope["method"], target)
            if is_turn:
                asked.count_turn()
            asked.line["model"] = str(address)
            asked.note("raw", f"{address} {scope['method']} {target.partition(b'?')[0].decode('ascii')}")
            async with leaving_with_client(client), AsyncExitStack() as held:
                if is_turn:
                    await held.enter_async_context(self._admission.place(address.peer, asked.consumer))
                await self._carry(scope, address, target, body, send)
        if client.has_left:
            asked.line["outcome"] = CLIENT_LEFT

    def _where(self, request: Request) -> tuple[Address, bytes]:
        """Whose API is meant, and what of it.

        Raises:
            InsufficientScope: the key is not good for this peer.
            RouteNotFound: there is no such peer or profile.
            MalformedRequest: see `target_of`.
        """
        peer, profile = request.path_params["peer"], request.path_params.get("profile")
        Asked.of(request.scope).require(raw(peer))
        address = Address(profile or DEFAULT_PROFILE, peer)
        if not self._roster.knows(address):
            raise RouteNotFound(404, f"there is no {address} here; GET /api/peers lists peers and profiles")
        mount = f"/peers/{peer}/v1/" if profile is None else f"/peers/{peer}/profiles/{profile}/v1/"
        return address, target_of(request.scope["raw_path"], request.scope["query_string"], mount)

    async def _carry(self, scope: Scope, address: Address, target: bytes, body: bytes, send: Send) -> None:
        asked = Asked.of(scope)
        method = scope["method"]
        headers = to_peer(scope["headers"], request_id=asked.request_id)
        is_begun = False
        try:
            async with self._peers[address.peer].raw(
                method.encode("ascii"), address.profile, target, headers, body
            ) as answer:
                told = to_client(answer.headers)
                if answer.status == 429 and starts_a_turn(method, target):
                    # To be said while the place is held, so that the limit is counted from the turns that run.
                    self._admission.lower(
                        address.peer, pause_seconds(dict(told).get(b"retry-after", b"").decode("latin-1"))
                    )
                is_begun = True
                await send(
                    {"type": "http.response.start", "status": answer.status, "headers": [*told, *of_address(address)]}
                )
                async for piece in answer:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except PeerError as error:
            if not is_begun:
                raise
            asked.line["code"] = error.code
            raise BrokenOff(error.words) from error
