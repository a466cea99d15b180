"""`GET /api/peers`, `/api/peers/{peer}` and `/api/groups`: the roster as JSON."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from switchboard_coordinator.address import MODES, Group
from switchboard_coordinator.errors import RouteNotFound
from switchboard_coordinator.peers.admission import Admission
from switchboard_coordinator.peers.health import LastTurn, Level
from switchboard_coordinator.peers.roster import PeerStatus, ProfileStatus, Roster


class RosterSurface:
    """Tells how the peers were found last."""

    def __init__(self, roster: Roster, admission: Admission | None = None) -> None:
        self._roster = roster
        self._admission = admission

    async def all(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's shape of an endpoint
        """Every peer."""
        return JSONResponse(self.snapshot())

    async def one(self, request: Request) -> Response:
        """One peer.

        Raises:
            RouteNotFound: there is no such peer.
        """
        return JSONResponse(self.peer(peer_of(request, self._roster)))

    async def groups(self, request: Request) -> Response:  # noqa: ARG002 - Starlette's shape of an endpoint
        """Every group, its addresses, and the model id of each mode in which it can be asked."""
        return JSONResponse(
            {
                "groups": [
                    {
                        "name": name,
                        "addresses": [str(address) for address in addresses],
                        "models": {mode: str(Group(mode, name)) for mode in MODES},
                    }
                    for name, addresses in self._roster.now.groups.items()
                ]
            }
        )

    def snapshot(self) -> dict[str, Any]:
        """Every peer, as JSON has it."""
        return {"peers": [self.peer(name) for name in self._roster.now.peers]}

    def peer(self, name: str) -> dict[str, Any]:
        """One peer, as JSON has it."""
        told = _peer(self._roster.now.peers[name])
        if self._admission is not None:
            told["turns"] = {
                "limit": self._admission.limit(name),
                "running": self._admission.running(name),
                "waiting": self._admission.waiting(name),
            }
        return told


def peer_of(request: Request, roster: Roster) -> str:
    """The name of the peer that the path is about.

    Raises:
        RouteNotFound: there is no such peer.
    """
    name: str = request.path_params["peer"]
    if name not in roster.now.peers:
        raise RouteNotFound(404, f"there is no peer {name[:80]!r}; there are {', '.join(roster.now.peers)}")
    return name


def _peer(peer: PeerStatus) -> dict[str, Any]:
    return {
        "name": peer.name,
        "host": peer.host,
        "port": peer.port,
        "tls": peer.is_tls,
        "state": peer.state,
        "since": peer.since.isoformat() if peer.since else None,
        "detail": peer.detail,
        "round_trip_ms": peer.round_trip_ms,
        "credential": peer.credential,
        "draining_since": peer.draining_since.isoformat() if peer.draining_since else None,
        "max_turns": peer.max_turns,
        "levels": {
            "network": _level(peer.levels.network),
            "proxy": _level(peer.levels.proxy),
            "credential": _level(peer.levels.credential),
        },
        "profiles": [_profile(name, profile) for name, profile in peer.profiles.items()],
    }


def _profile(name: str, profile: ProfileStatus) -> dict[str, Any]:
    levels = profile.levels
    return {
        "name": name,
        "address": str(profile.address),
        "state": profile.state,
        "since": profile.since.isoformat() if profile.since else None,
        "detail": profile.detail,
        "agent_version": profile.agent_version,
        "capabilities": list(profile.capabilities),
        "levels": {
            "network": _level(levels.network),
            "proxy": _level(levels.proxy),
            "credential": _level(levels.credential),
            "agent": _level(levels.agent),
            "turn": _turn(profile.last_turn),
        },
    }


def _level(level: Level) -> dict[str, Any]:
    return {"state": level.state, "detail": level.detail}


def _turn(turn: LastTurn | None) -> dict[str, Any]:
    if turn is None:
        return {"state": "unknown", "outcome": None, "code": None, "at": None}
    return {"state": turn.state, "outcome": turn.outcome, "code": turn.code, "at": turn.at.isoformat()}
