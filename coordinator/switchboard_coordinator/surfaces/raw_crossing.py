"""What crosses on raw access: which path, and which headers each way. Pure. Header names are in lower case."""

from urllib.parse import unquote_to_bytes

from switchboard_relay import Headers
from switchboard_relay.wire import HOP_BY_HOP, Header

from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import MalformedRequest, RouteNotFound

STARTS_A_TURN = frozenset((b"/v1/chat/completions", b"/v1/responses", b"/v1/runs"))
"""What an agent runs when it is posted there (hermes-agent 0.19.0)."""

_NOT_TO_PEER = HOP_BY_HOP | {
    b"authorization",
    b"content-length",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"origin",
    b"referer",
    b"x-real-ip",
    b"x-request-id",
}
_NOT_TO_PEER_PREFIXES = (b"x-forwarded-", b"x-switchboard-", b"tailscale-", b"proxy-", b"sec-", b"access-control-")
_NOT_TO_CLIENT = HOP_BY_HOP | {b"date", b"server", b"set-cookie", b"strict-transport-security", b"x-request-id"}
_UNSAFE = frozenset(b"/\\%?#")


def target_of(raw_path: bytes, query: bytes, mount: str) -> bytes:
    """What the agent is asked for: `/v1/` and what stands behind `mount`, with the query, in the client's own spelling.

    Raises:
        RouteNotFound: `mount` is spelt in another way.
        MalformedRequest: a part that another reader of the path could take for the way out of `/v1/`.
    """
    begin = mount.encode()
    if not raw_path.startswith(begin):
        raise RouteNotFound(404, "there is nothing at this path: names are written as they are, without escapes")
    rest = raw_path.removeprefix(begin)
    for segment in rest.split(b"/"):
        plain = unquote_to_bytes(segment)
        if plain in (b"", b".", b"..") or any(byte in _UNSAFE or byte < 0x21 or byte == 0x7F for byte in plain):
            raise MalformedRequest("the path has an empty or dotted part, or an escape that hides a separator")
    target = b"/v1/%b?%b" % (rest, query) if query else b"/v1/%b" % rest
    if not target.isascii():
        raise MalformedRequest("a path and its query are ASCII: other characters are written as escapes")
    return target


def starts_a_turn(method: str, target: bytes) -> bool:
    """Whether the agent is set to work by this."""
    return method == "POST" and unquote_to_bytes(target.partition(b"?")[0]) in STARTS_A_TURN


def to_peer(headers: Headers, *, request_id: str) -> list[Header]:
    """The request's headers as the agent gets them.

    Dropped: credentials and cookies, what belongs to this hop or claims an identity, and Origin, at which an agent
    answers 403 (hermes-agent 0.19.0).
    """
    named = _named(headers)
    crossing = [
        (name, value)
        for name, value in headers
        if name not in _NOT_TO_PEER and name not in named and not name.startswith(_NOT_TO_PEER_PREFIXES)
    ]
    return [*crossing, (b"x-request-id", request_id.encode("ascii"))]


def to_client(headers: Headers) -> list[Header]:
    """The answer's headers as the client gets them."""
    named = _named(headers)
    return [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in _NOT_TO_CLIENT
        and name.lower() not in named
        and not name.lower().startswith(b"x-switchboard-")
    ]


def of_address(address: Address) -> list[Header]:
    """The headers that say whose answer it is."""
    return [
        (b"x-switchboard-peer", address.peer.encode("ascii")),
        (b"x-switchboard-profile", address.profile.encode("ascii")),
    ]


def _named(headers: Headers) -> frozenset[bytes]:
    """The headers that Connection names as belonging to one hop."""
    values = (value for name, value in headers if name.lower() == b"connection")
    return frozenset(option.strip().lower() for value in values for option in value.split(b","))
