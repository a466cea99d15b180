"""The session headers of a turn: what a peer sees is the consumer's own. Pure.

Two consumers that use the same id must not meet in one session, so the id that a peer sees carries the consumer's name.
"""

from switchboard_relay import Headers
from switchboard_relay.wire import Header

from switchboard_coordinator.errors import MalformedRequest

SESSION_ID = b"x-hermes-session-id"
SESSION_HEADERS = (SESSION_ID, b"x-hermes-session-key")
LIMIT = 256  # hermes-agent 0.19.0
_PASSED_ON = frozenset((b"traceparent", b"tracestate"))


def to_peer(headers: Headers, *, consumer: str, request_id: str, session: str | None = None) -> list[Header]:
    """The headers that go to a peer with a turn; `session` is its id, whatever a header says.

    Raises:
        MalformedRequest: a session id or key that an agent would not take.
    """
    crossing = [
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream"),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    if session is not None:
        others = (header for header in headers if header[0] != SESSION_ID)
        headers = (*others, (SESSION_ID, session.encode("utf-8")))
    for name, value in headers:
        if name in SESSION_HEADERS:
            crossing.append((name, _prefix(consumer) + _checked(name, value, consumer)))
        elif name in _PASSED_ON:
            crossing.append((name, value))
    return crossing


def namespaced(session: str, consumer: str) -> str:
    """The id that peers see."""
    return f"{consumer}.{session}"


def without_session(headers: Headers) -> Headers:
    """The headers of a lane that is to leave no trace in its consumer's session."""
    return tuple((name, value) for name, value in headers if name not in SESSION_HEADERS)


def to_client(headers: Headers, *, consumer: str) -> list[Header]:
    """The session headers of a peer's answer, in the client's own words.

    An id that the peer made up is left out: sent back, it would name another session than the one it came from.
    """
    prefix = _prefix(consumer)
    return [
        (name.lower(), value.removeprefix(prefix))
        for name, value in headers
        if name.lower() in SESSION_HEADERS and value.startswith(prefix)
    ]


def _prefix(consumer: str) -> bytes:
    return consumer.encode("ascii") + b"."


def _checked(name: bytes, value: bytes, consumer: str) -> bytes:
    room = LIMIT - len(_prefix(consumer))
    if not value or len(value) > room or any(not 0x20 <= byte < 0x7F for byte in value):
        raise MalformedRequest(f"{name.decode()} takes 1 to {room} visible ASCII characters", param=name.decode())
    return value
