"""The door of a peer: whether a proxy of ours keeps it, and lets us in. No stranger is shown the password."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError
from switchboard_relay import AnswerInvalid, ConnectFailed, Headers, Pool, RelayError, Request

from switchboard_coordinator.peers import look
from switchboard_coordinator.peers.health import Found
from switchboard_coordinator.peers.peers_file import PeerEntry
from switchboard_coordinator.peers.refusal import is_the_proxys
from switchboard_coordinator.peers.watch import LOOK_SECONDS, REPORT_LIMIT_BYTES

from .findings import HopFailed

_CODES = {
    "invalid_credentials": "password_wrong",
    "locked_out": "locked_out",
    "caller_refused": "caller_refused",
    "caller_unknown": "caller_unknown",
    "host_refused": "other_name",
    "draining": "proxy_ending",
}
"""Ours by the proxy's; any other is `proxy_untold`."""


@dataclass(frozen=True, slots=True)
class Let:
    """What the proxy says to whom shows a password: how each profile is, or that it does not let us in."""

    profiles: Mapping[str, Found]
    refusal: HopFailed | None


class Door:
    """One peer's."""

    def __init__(self, entry: PeerEntry) -> None:
        self._entry = entry

    async def check_keeper(self) -> None:
        """Make sure that a proxy of ours asks for a password here.

        Raises:
            HopFailed: it does not answer, or is another one, or cannot let anybody in.
        """
        status, headers, body = await self._ask(b"/-/ready")
        if _told(body) == "invalid_credentials" and status == 401:
            return
        if not is_the_proxys(headers):
            raise HopFailed("not_a_proxy", f"what answers at {self._entry.authority} is no proxy of ours")
        raise HopFailed(_code(body), str(look.read(status, body, ()).levels.detail))

    async def knock(self, credential: bytes, known: Iterable[str]) -> Let:
        """Show the credential, and ask for the profiles that we know.

        Raises:
            HopFailed: it does not answer us as our proxy for this peer.
        """
        status, _, body = await self._ask(b"/-/profiles", (b"authorization", credential))
        looked = look.read(status, body, known)
        levels = looked.levels
        if levels.proxy.state == "failed":
            raise HopFailed(_code(body), str(levels.detail))
        is_let_in = levels.credential.state == "ok"
        return Let(looked.profiles, None if is_let_in else HopFailed(_code(body), str(levels.detail)))

    async def _ask(self, path: bytes, *headers: tuple[bytes, bytes]) -> tuple[int, Headers, bytes]:
        entry = self._entry
        host = (b"host", entry.authority.encode("ascii"))
        request = Request(b"GET", path, (host, (b"connection", b"close"), *headers))
        pool = Pool(entry.host, entry.port, is_tls=entry.tls)
        try:
            async with asyncio.timeout(LOOK_SECONDS), pool.exchange(request) as answer:
                return answer.status, answer.headers, await answer.read(REPORT_LIMIT_BYTES)
        except AnswerInvalid:
            words = f"what answers at {entry.authority} does not speak HTTP as a proxy does"
            raise HopFailed("not_a_proxy", words) from None
        except (RelayError, TimeoutError) as error:
            if entry.tls and isinstance(error, ConnectFailed):
                raise HopFailed("tls_failed", f"no TLS comes about with {entry.authority}: {error}") from None
            why = str(error) or f"it is silent for {LOOK_SECONDS:g} s"
            raise HopFailed("proxy_silent", f"its proxy takes the connection and does not answer: {why}") from None


class _Error(BaseModel):
    code: str


class _Refusal(BaseModel):
    error: _Error


def _told(body: bytes) -> str | None:
    """The code of a proxy's refusal."""
    with suppress(ValidationError):
        return _Refusal.model_validate_json(body).error.code
    return None


def _code(body: bytes) -> str:
    return _CODES.get(_told(body) or "", "proxy_untold")
