"""`GET /api/peers` and `GET /api/peers/{peer}`: the roster as JSON."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .errors import RouteNotFound
from .roster import PeerStatus, ProfileStatus, Roster


class RosterSurface:
    """Tells how the peers were found last."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def all(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's shape of an endpoint
        """Every peer."""
        return JSONResponse({"peers": [_peer(peer) for peer in self._roster.now.peers.values()]})

    async def one(self, request: Request) -> Response:
        """One peer.

        Raises:
            RouteNotFound: there is no such peer.
        """
        peers = self._roster.now.peers
        peer = peers.get(request.path_params["peer"])
        if peer is None:
            raise RouteNotFound(404, f"there is no such peer; there are {', '.join(peers)}")
        return JSONResponse(_peer(peer))


def _peer(peer: PeerStatus) -> dict[str, Any]:
    return {
        "name": peer.name,
        "host": peer.host,
        "port": peer.port,
        "state": peer.state,
        "since": peer.since.isoformat() if peer.since else None,
        "detail": peer.detail,
        "round_trip_ms": peer.round_trip_ms,
        "max_turns": peer.max_turns,
        "profiles": [_profile(name, profile) for name, profile in peer.profiles.items()],
    }


def _profile(name: str, profile: ProfileStatus) -> dict[str, Any]:
    return {
        "name": name,
        "address": str(profile.address),
        "state": profile.state,
        "since": profile.since.isoformat() if profile.since else None,
        "detail": profile.detail,
        "agent_version": profile.agent_version,
        "capabilities": list(profile.capabilities),
    }
