"""Which headers cross, each way. Pure. Names are in lower case."""

from collections.abc import Iterable, Iterator

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


def to_upstream(headers: Headers, *, host: bytes, bearer: bytes | None, framing: Header | None) -> list[Header]:
    """The request's headers as the upstream gets them.

    Dropped: what belongs to this hop, what claims an identity, and Origin, at which the agent answers 403.

    Args:
        headers: as the client sent them.
        host: the upstream's own name.
        bearer: the whole Authorization value, for an API server.
        framing: the header that tells how the body ends; None without a body.
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
    return crossing


def to_client(headers: Headers, status: int, *, is_agent: bool) -> Iterator[Header]:
    """The answer's headers as the client gets them.

    An agent's WWW-Authenticate is dropped too: a 401 with it is the proxy's own, one without it is the agent's.
    """
    lowered = [(name.lower(), value) for name, value in headers]
    named = _named_in_connection(lowered)
    for name, value in lowered:
        if name in _NOT_TO_CLIENT or name in named or name.startswith(b"x-switchboard-"):
            continue
        if is_agent and name == b"www-authenticate":
            continue
        if status == 304 and name == b"content-length":  # tells of a body that does not come; the server waits for it
            continue
        yield name, value


def _named_in_connection(headers: Iterable[Header]) -> frozenset[bytes]:
    named: frozenset[bytes] = frozenset()
    for name, value in headers:
        if name == b"connection" and value.lower() not in (b"keep-alive", b"close"):
            named |= frozenset(option.strip().lower() for option in value.split(b","))
    return named
