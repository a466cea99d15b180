"""Looks at every peer again and again and notes in the roster what it finds. One peer never delays another."""

import asyncio
import random
import time

import httpx
import structlog
from pydantic import BaseModel, ValidationError
from switchboard_relay import ConnectTimedOut, RelayError

from .peer import Peer
from .roster import Found, Roster, State, summed_up

UP_SECONDS = 5.0
DOWN_SECONDS = 2.0
LOOK_SECONDS = 8.0
"""Longer than the proxy's own questions to its agent may take."""

_log = structlog.get_logger("switchboard")


class _Profile(BaseModel):
    name: str
    state: str
    detail: str | None = None
    agent_version: str | None = None


class _Report(BaseModel):
    """What a proxy tells at `/-/profiles`."""

    profiles: list[_Profile]


class Watch:
    """Keeps the roster true."""

    def __init__(self, roster: Roster, client: httpx.AsyncClient) -> None:
        self._roster = roster
        self._client = client

    async def keep(self, peer: Peer) -> None:
        """Look at one peer for ever."""
        while True:
            try:
                await self.look(peer)
            except Exception:  # noqa: BLE001 - the loop outlives what one look stumbles over
                _log.exception("look_failed", peer=peer.name)
            state = self._roster.now.peers[peer.name].state
            pause = UP_SECONDS if state in ("up", "degraded") else DOWN_SECONDS
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret

    async def look(self, peer: Peer) -> None:
        """Ask the peer's proxy once and note what it says."""
        before = self._roster.now.peers[peer.name]
        began = time.perf_counter()
        found, profiles = await self._ask(peer)
        round_trip_ms = round((time.perf_counter() - began) * 1000, 1) if found.state != "down" or profiles else None
        self._roster.note(peer.name, found, profiles, round_trip_ms)
        if before.state != found.state or before.since is None:
            _log.info("peer_state", peer=peer.name, state=found.state, detail=found.detail)

    async def _ask(self, peer: Peer) -> tuple[Found, dict[str, Found]]:
        credential = peer.credential.header()
        status = self._roster.now.peers[peer.name]
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                answer = await self._client.get(
                    f"http://{peer.place}/-/profiles",
                    headers={"authorization": credential.decode("ascii")} if credential else {},
                )
        except ConnectTimedOut:
            return Found("down", "the machine does not answer: is it awake and on the tailnet?"), {}
        except (RelayError, httpx.HTTPError, TimeoutError) as error:
            return Found("down", f"its proxy does not answer: {str(error) or 'it is silent'}"), {}
        if answer.status_code == 401:
            peer.credential.refuse(credential)
            return Found("unauthorized", "its proxy refuses the user or password: mend the password file"), {}
        if answer.status_code == 421:
            return Found("down", "its proxy does not go by this name: SWITCHBOARD_PROXY_NAMES adds names"), {}
        try:
            report = _Report.model_validate_json(answer.content)
        except ValidationError:
            return Found("down", f"what answers there is no proxy of ours (status {answer.status_code})"), {}
        told = {profile.name: profile for profile in report.profiles}
        profiles = {name: _found(told.get(name)) for name in status.profiles}
        return summed_up(profiles), profiles


def _found(profile: _Profile | None) -> Found:
    if profile is None:
        return Found("down", "its proxy does not know this profile: SWITCHBOARD_PROXY_PROFILES names what it serves")
    states: dict[str, State] = {"up": "up", "degraded": "degraded", "unauthorized": "unauthorized"}
    return Found(states.get(profile.state, "down"), profile.detail, profile.agent_version)
