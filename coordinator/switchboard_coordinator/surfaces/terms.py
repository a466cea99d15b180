"""The terms of a request: what its headers say of how its turn is to go on. Pure.

Idempotency-Key               joins the turn that came with the same key and request, for 24 hours
x-switchboard-on-disconnect   cancel | detach: what happens when its client leaves
x-switchboard-deadline-ms     the turn is cancelled when it takes longer
x-switchboard-to              who is asked, in place of `model`
x-switchboard-transport       chat | runs
x-switchboard-move            yes: the session may move to another address
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from switchboard_relay import Headers

from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.turn import Policy, Transport

LONGEST_DEADLINE_MS = 24 * 3600 * 1000
_KEY = re.compile("[\x21-\x7e]{1,255}")
_NUMBER = re.compile("[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class Terms:
    """How a turn is to go on; None where the request does not say."""

    key: str | None = None
    policy: Policy | None = None
    deadline_ms: int | None = None
    to: str | None = None
    transport: Transport | None = None
    is_move: bool = False
    session: str | None = None


def terms_of(headers: Headers) -> Terms:
    """The terms that a request's headers tell.

    Raises:
        MalformedRequest: a header says what it cannot.
    """
    given: dict[bytes, str] = {}
    for name, value in headers:
        if name in _KNOWN:
            if name in given:
                raise MalformedRequest(f"the header {name.decode()} is there twice", param=name.decode())
            given[name] = value.decode("latin-1").strip()
    if not given:
        return _NONE
    policy = _word(given, b"x-switchboard-on-disconnect", "cancel", "detach")
    transport = _word(given, b"x-switchboard-transport", "chat", "runs")
    return Terms(
        _key(given),
        cast("Policy | None", policy),
        _deadline(given),
        given.get(b"x-switchboard-to") or None,
        cast("Transport | None", transport),
        _word(given, b"x-switchboard-move", "yes", "no") == "yes",
        given.get(b"x-hermes-session-id"),
    )


_KNOWN = frozenset(
    (
        b"idempotency-key",
        b"x-switchboard-on-disconnect",
        b"x-switchboard-deadline-ms",
        b"x-switchboard-to",
        b"x-switchboard-transport",
        b"x-switchboard-move",
        b"x-hermes-session-id",
    )
)
_NONE = Terms()


def _word(given: Mapping[bytes, str], name: bytes, *words: str) -> str | None:
    value = given.get(name)
    if value is not None and value not in words:
        raise MalformedRequest(f"{name.decode()} is {' or '.join(words)}", param=name.decode())
    return value


def _key(given: Mapping[bytes, str]) -> str | None:
    key = given.get(b"idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise MalformedRequest("Idempotency-Key takes 1 to 255 visible ASCII characters", param="idempotency-key")
    return key


def _deadline(given: Mapping[bytes, str]) -> int | None:
    value = given.get(b"x-switchboard-deadline-ms")
    if value is None:
        return None
    if not _NUMBER.fullmatch(value) or not 1 <= int(value) <= LONGEST_DEADLINE_MS:
        raise MalformedRequest(
            f"x-switchboard-deadline-ms is a number of milliseconds, 1 to {LONGEST_DEADLINE_MS}",
            param="x-switchboard-deadline-ms",
        )
    return int(value)
