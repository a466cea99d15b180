"""Which headers cross, each way. Pure. Names are in lower case."""

import re

from switchboard_relay import Headers
from switchboard_relay.wire import HOP_BY_HOP, Header

from .cookie import without_ours

_NOT_TO_UPSTREAM = HOP_BY_HOP | {
    b"authorization",
    b"content-length",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"x-real-ip",
}
_NOT_TO_UPSTREAM_PREFIXES = (b"x-forwarded-", b"tailscale-", b"proxy-", b"x-switchboard-")
_NOT_TO_CLIENT = HOP_BY_HOP | {b"strict-transport-security", b"server", b"date"}


_PREFIX = re.compile(rb"(?:/[A-Za-z0-9._~-]+){1,4}")


def to_upstream(headers: Headers, *, host: bytes, bearer: bytes | None, upgrade: bytes | None) -> list[Header]:
    """The request's headers as the upstream gets them, but for the one that tells how the body ends.

    Dropped: what belongs to this hop, what claims an identity, our own cookies, and Origin, at which the agent answers
    403. `X-Forwarded-Prefix` passes where it is a plain prefix, for the dashboard's page works below one.

    Args:
        headers: as the client sent them.
        host: the upstream's own name.
        bearer: the whole Authorization value, for an API server.
        upgrade: the other protocol that the client offers to speak.
    """
    crossing = [(b"host", host)]
    named = prefix = None
    for header in headers:
        name = header[0]
        if name not in _NOT_TO_UPSTREAM and not name.startswith(_NOT_TO_UPSTREAM_PREFIXES):
            if name == b"cookie":
                kept = without_ours(header[1])
                if kept is not None:
                    crossing.append((name, kept))
            else:
                crossing.append(header)
        elif name == b"connection":
            named = _named(header[1])
        elif name == b"x-forwarded-prefix":
            prefix = header[1] if prefix is None else b""
    if named:
        crossing[1:] = [header for header in crossing[1:] if header[0] not in named]
    if prefix is not None and _PREFIX.fullmatch(prefix) and not _is_dotted(prefix):
        crossing.append((b"x-forwarded-prefix", prefix))
    if bearer is not None:
        crossing.append((b"authorization", bearer))
    if upgrade is not None:
        crossing += ((b"connection", b"Upgrade"), (b"upgrade", upgrade))
    return crossing


def forwarded_for(headers: Headers) -> str | None:
    """Who Tailscale Serve says is calling: the last address, which is its own addition."""
    last = next((value for name, value in reversed(headers) if name == b"x-forwarded-for"), None)
    return last.rpartition(b",")[2].strip().decode("ascii", "replace") if last is not None else None


def to_client(headers: Headers) -> list[Header]:
    """An answer's headers as the client gets them, names in lower case."""
    crossing: list[Header] = []
    named = None
    for name, value in headers:
        lower = name.lower()
        if lower not in _NOT_TO_CLIENT and not lower.startswith(b"x-switchboard-"):
            crossing.append((lower, value))
        elif lower == b"connection":
            named = _named(value) | (named or frozenset())
    return [header for header in crossing if header[0] not in named] if named else crossing


def from_agent(headers: Headers) -> list[Header]:
    """An API server's headers as the client gets them.

    WWW-Authenticate is dropped too: a 401 with it is the proxy's own, one without it is the agent's.
    """
    return [header for header in to_client(headers) if header[0] != b"www-authenticate"]


def from_webui(headers: Headers, *, mount: bytes, host: bytes) -> list[Header]:
    """A hermes-webui's headers as the client gets them: where they name a path, below `mount` (`/webui`)."""
    return [(name, _below(name, value, mount, b"http://" + host)) for name, value in to_client(headers)]


def _below(name: bytes, value: bytes, mount: bytes, own: bytes) -> bytes:
    if name == b"location":
        path = value.removeprefix(own) if value.startswith(own + b"/") else value
        return mount + path if path.startswith(b"/") and not path.startswith(b"//") else value
    if name == b"set-cookie":
        return _COOKIE_PATH.sub(rb"\g<1>" + mount + rb"\g<2>", value)
    return value


_COOKIE_PATH = re.compile(rb"(;[ \t]*path=)(/[^;]*)", re.IGNORECASE)


def _is_dotted(prefix: bytes) -> bool:
    return any(segment in (b".", b"..") for segment in prefix.split(b"/"))


def _named(connection: bytes) -> frozenset[bytes]:
    if connection.lower() in (b"keep-alive", b"close"):
        return frozenset()
    return frozenset(option.strip().lower() for option in connection.split(b","))
