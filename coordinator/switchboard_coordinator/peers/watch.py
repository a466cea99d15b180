"""Looks at every peer again and again and notes in the roster what it finds. One peer never delays another.

A look is a connection of its own, so that it tells whether one comes through now. To a machine that is away looks are
short and close together: within five seconds of its return one has come through, and its breaker is closed.
"""

import asyncio
import random
import time
from contextlib import suppress

import structlog
from switchboard_relay import ConnectFailed, ConnectTimedOut, Pool, RelayError, Request
from switchboard_relay.pool import CONNECT_SECONDS

from . import look
from .health import Levels, no_network, no_proxy
from .peer import Peer
from .roster import PeerStatus, Roster

UP_SECONDS = 5.0
DOWN_SECONDS = 2.0
AWAY_SECONDS = 0.8
"""The pause where no connection came through."""
AWAY_CONNECT_SECONDS = 2.0
"""How long a connect may take there: TCP knocks a second time after one second."""
LOOK_SECONDS = 8.0
"""Longer than the proxy's own questions to its agents may take."""
JITTER = 0.2
REPORT_LIMIT_BYTES = 1_000_000

_log = structlog.get_logger("switchboard")


class Watch:
    """Keeps the roster true, and every peer's breaker."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def keep(self, peer: Peer) -> None:
        """Look at one peer for ever, and at once when a turn found that it takes no connection."""
        doubt = asyncio.Event()
        peer.breaker.opened = doubt.set
        while True:
            doubt.clear()
            try:
                await self.look(peer)
            except Exception:  # noqa: BLE001 - the loop outlives what one look stumbles over
                _log.exception("look_failed", peer=peer.name)
            if peer.breaker.state != "closed":
                doubt.clear()  # what this look found itself is no reason for another one at once
            with suppress(TimeoutError):
                async with asyncio.timeout(_pause_seconds(self._roster.now.peers[peer.name])):
                    await doubt.wait()

    async def look(self, peer: Peer) -> None:
        """Ask the peer's proxy once and note what it says."""
        before = self._roster.now.peers[peer.name]
        credential = peer.credential.header()
        began = time.perf_counter()
        asked_at = asyncio.get_running_loop().time()
        try:
            status, body = await _ask(before, peer.place, credential)
        except (RelayError, TimeoutError) as error:
            if isinstance(error, ConnectTimedOut | TimeoutError):
                peer.fell_silent(asked_at)
            else:
                peer.was_heard()  # its machine is there: what is open there breaks by itself, or is being drained
            self._silent(peer, error)
        else:
            if status in (401, 429):
                peer.credential.refuse(credential)
            peer.was_heard()
            peer.breaker.succeeded()
            found = look.read(status, body, before.profiles)
            round_trip_ms = round((time.perf_counter() - began) * 1000, 1)
            self._roster.note(peer.name, found.levels, found.profiles, round_trip_ms, found.credential)
        after = self._roster.now.peers[peer.name]
        if before.state != after.state or before.since is None:
            _log.info("peer_state", peer=peer.name, state=after.state, detail=after.detail)

    def _silent(self, peer: Peer, error: RelayError | TimeoutError) -> None:
        """No answer came. What counts against the machine is a connect that failed, or a proxy that stands still."""
        if isinstance(error, ConnectFailed | TimeoutError):
            peer.breaker.failed(asyncio.get_running_loop().time())
        else:
            peer.breaker.succeeded()
        self._roster.note(peer.name, _levels(error), {}, None)


async def _ask(peer: PeerStatus, place: str, credential: bytes | None) -> tuple[int, bytes]:
    """Status and body.

    Raises:
        RelayError: there was no answer.
        TimeoutError: it did not come to its end in time.
    """
    is_away = peer.levels.network.state == "failed"
    connect_seconds = AWAY_CONNECT_SECONDS if is_away else CONNECT_SECONDS
    pool = Pool(peer.host, peer.port, is_tls=peer.is_tls, connect_seconds=connect_seconds)
    headers = [(b"host", place.encode("ascii")), (b"connection", b"close")]
    if credential is not None:
        headers.append((b"authorization", credential))
    async with asyncio.timeout(LOOK_SECONDS), pool.exchange(Request(b"GET", b"/-/profiles", headers)) as answer:
        return answer.status, await answer.read(REPORT_LIMIT_BYTES)


def _levels(error: RelayError | TimeoutError) -> Levels:
    if isinstance(error, ConnectTimedOut):
        return no_network("the machine does not answer: is it awake and on the tailnet?")
    words = f"its proxy does not answer: {str(error) or 'it is silent'}"
    return no_network(words) if isinstance(error, ConnectFailed) else no_proxy(words)


def _pause_seconds(peer: PeerStatus) -> float:
    if peer.levels.network.state == "failed":
        seconds = AWAY_SECONDS
    else:
        seconds = UP_SECONDS if peer.state in ("up", "degraded") else DOWN_SECONDS
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter, no secret
