"""Which headers cross, each way. Pure. Names are in lower case."""

from collections.abc import Iterable

from switchboard_relay import Headers
from switchboard_relay.wire import Header

_HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
_NOT_TO_UPSTREAM = _HOP_BY_HOP | {
    b"authorization",
    b"content-length",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"x-real-ip",
}
_NOT_TO_UPSTREAM_PREFIXES = (b"x-forwarded-", b"tailscale-", b"proxy-", b"x-switchboard-")
_NOT_TO_CLIENT = _HOP_BY_HOP | {b"strict-transport-security", b"server", b"date"}


def to_upstream(
    headers: Headers, *, host: bytes, bearer: bytes | None, framing: Header | None, upgrade: bytes | None = None
) -> list[Header]:
    """The request's headers as the upstream gets them.

    Dropped: what belongs to this hop, what claims an identity, and Origin, at which the agent answers 403.

    Args:
        headers: as the client sent them.
        host: the upstream's own name.
        bearer: the whole Authorization value, for an API server.
        framing: the header that tells how the body ends; None without a body.
        upgrade: the other protocol that the client offers to speak.
    """
    named = _named_in_connection(headers)
    crossing = [(b"host", host)]
    crossing += [
        (name, value)
        for name, value in headers
        if name not in _NOT_TO_UPSTREAM and name not in named and not name.startswith(_NOT_TO_UPSTREAM_PREFIXES)
    ]
    if bearer is not None:
        crossing.append((b"authorization", bearer))
    if framing is not None:
        crossing.append(framing)
    if upgrade is not None:
        crossing += [(b"connection", b"Upgrade"), (b"upgrade", upgrade)]
    return crossing


def agent_answer(status: int, headers: Headers) -> list[Header]:
    """An API server's headers as the client gets them.

    WWW-Authenticate is dropped too: a 401 with it is the proxy's own, one without it is the agent's.
    """
    return [header for header in dashboard_answer(status, headers) if header[0] != b"www-authenticate"]


def dashboard_answer(status: int, headers: Headers) -> list[Header]:
    """Any other upstream's headers as the client gets them."""
    lowered = [(name.lower(), value) for name, value in headers]
    named = _named_in_connection(lowered)
    return [
        (name, value)
        for name, value in lowered
        if name not in _NOT_TO_CLIENT and name not in named and not name.startswith(b"x-switchboard-")
    ]


def _named_in_connection(headers: Iterable[Header]) -> frozenset[bytes]:
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            named |= frozenset(option.strip().lower() for option in value.split(b","))
    return named
