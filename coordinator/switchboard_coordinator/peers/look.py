"""What a peer's proxy answers at `/-/profiles`, in terms of levels. Pure."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from .health import LET_IN, Found, Levels, no_proxy, refused, reported


class _Profile(BaseModel):
    name: str
    state: str
    detail: str | None = None
    agent_version: str | None = None


class _Report(BaseModel):
    """What a proxy tells."""

    profiles: list[_Profile]
    credential: str | None = None


class Look(NamedTuple):
    """The levels of the peer, and of each profile that we know it by; of none where the proxy does not let us in.

    `credential` is which of the proxy's two passwords it was shown: `current` or `next`, None where it does not tell.
    """

    levels: Levels
    profiles: Mapping[str, Found] = MappingProxyType({})
    credential: str | None = None


class _Error(BaseModel):
    code: str
    message: str


class _Refusal(BaseModel):
    """What a proxy says instead."""

    error: _Error


_UNKNOWN_PROFILE = no_proxy("its proxy does not know this profile: SWITCHBOARD_PROXY_PROFILES names what it serves")
_WRONG_PASSWORD = "its proxy refuses the user or password: mend the password file"  # noqa: S105 - a sentence
_NOT_LET_IN = {
    "locked_out": _WRONG_PASSWORD,
    "caller_refused": "its proxy does not take calls from this machine: SWITCHBOARD_PROXY_ALLOWED_CALLERS names whose",
}
_OTHER_NAME = "its proxy does not go by this name: SWITCHBOARD_PROXY_NAMES adds names"


def read(status: int, body: bytes, known: Iterable[str]) -> Look:
    """What this answer tells of the peer and of the profiles that we know it by."""
    if status == 401:
        return Look(refused(_WRONG_PASSWORD))
    if status == 421:
        return Look(no_proxy(_OTHER_NAME))
    try:
        if status == 200:
            report = _Report.model_validate_json(body)
            told = {profile.name: profile for profile in report.profiles}
            return Look(LET_IN, {name: _found(told.get(name)) for name in known}, report.credential)
        error = _Refusal.model_validate_json(body).error
    except ValidationError:
        return Look(no_proxy(f"what answers there is no proxy of ours (status {status})"))
    if error.code in _NOT_LET_IN:
        return Look(refused(_NOT_LET_IN[error.code]))
    return Look(no_proxy(f"its proxy does not tell: {error.message}"))


def _found(profile: _Profile | None) -> Found:
    if profile is None:
        return Found(_UNKNOWN_PROFILE)
    return Found(reported(profile.state, profile.detail), profile.agent_version, profile.state)
