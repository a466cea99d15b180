"""`POST /api/peers/{peer}/drain` and `…/undrain`, for keys with the scope `admin`."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.keys.scopes import ADMIN
from switchboard_coordinator.peers.drains import Drains
from switchboard_coordinator.peers.roster import Roster

from .roster_surface import RosterSurface, peer_of


class DrainSurface:
    """Takes a peer out of use, and puts it back. What was so already is answered alike, and noted nowhere."""

    def __init__(self, drains: Drains, roster: Roster, told: RosterSurface) -> None:
        self._drains = drains
        self._roster = roster
        self._told = told

    async def drain(self, request: Request) -> Response:
        """Give it no new turns; answers the peer.

        Raises:
            InsufficientScope: the key is not an admin's.
            RouteNotFound: there is no such peer.
            JournalUnavailable: it cannot be written down.
        """
        asked, peer = self._asked(request)
        if await self._drains.begin(peer, asked.consumer):
            asked.note("peer.drain", peer)
        return JSONResponse(self._told.peer(peer))

    async def undrain(self, request: Request) -> Response:
        """Let it have turns again; answers the peer.

        Raises:
            InsufficientScope, RouteNotFound, JournalUnavailable: see `drain`.
        """
        asked, peer = self._asked(request)
        if await self._drains.end(peer):
            asked.note("peer.undrain", peer)
        return JSONResponse(self._told.peer(peer))

    def _asked(self, request: Request) -> tuple[Asked, str]:
        asked = Asked.of(request.scope)
        asked.require(ADMIN)
        return asked, peer_of(request, self._roster)
