"""Session headers: each consumer has sessions of its own."""

import pytest
from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.turns import session

GIVEN = [
    (b"x-hermes-session-id", b"my-session"),
    (b"x-hermes-session-key", b"agent:main:web:user-42"),
    (b"traceparent", b"00-1-2-01"),
    (b"authorization", b"Bearer secret"),
    (b"cookie", b"a=b"),
    (b"x-hermes-other", b"1"),
]


def test_a_peer_sees_the_consumers_name_before_its_session_and_nothing_else_of_the_client() -> None:
    assert session.to_peer(GIVEN, consumer="me", request_id="req_1") == [
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream"),
        (b"x-request-id", b"req_1"),
        (b"x-hermes-session-id", b"me.my-session"),
        (b"x-hermes-session-key", b"me.agent:main:web:user-42"),
        (b"traceparent", b"00-1-2-01"),
    ]


def test_two_consumers_with_one_session_id_do_not_meet() -> None:
    ids = {dict(session.to_peer(GIVEN, consumer=name, request_id="r"))[b"x-hermes-session-id"] for name in ("a", "b")}
    assert len(ids) == 2


def test_the_client_gets_its_own_words_back_and_no_id_that_a_peer_made_up() -> None:
    answered = [(b"X-Hermes-Session-Id", b"me.my-session"), (b"X-Hermes-Session-Key", b"api-1234"), (b"Date", b"x")]
    assert session.to_client(answered, consumer="me") == [(b"x-hermes-session-id", b"my-session")]


def test_the_session_of_a_body_stands_in_the_headers_place() -> None:
    headers = session.to_peer(GIVEN, consumer="me", request_id="r", session="other")
    assert [value for name, value in headers if name == b"x-hermes-session-id"] == [b"me.other"]
    assert (b"x-hermes-session-key", b"me.agent:main:web:user-42") in headers


def test_a_lane_without_a_trace_names_no_session_and_keeps_the_rest() -> None:
    headers = session.to_peer(GIVEN, consumer="me", request_id="r")
    left = session.without_session(headers)
    assert [header for header in headers if header not in left] == headers[3:5]
    assert len(left) == len(headers) - 2


@pytest.mark.parametrize("value", [b"", b"x" * 254, b"a\x7f", b"caf\xc3\xa9"])
def test_an_id_that_no_agent_would_take_is_refused_in_words(value: bytes) -> None:
    with pytest.raises(MalformedRequest, match="x-hermes-session-id takes 1 to 253"):
        session.to_peer([(b"x-hermes-session-id", value)], consumer="me", request_id="r")


def test_the_longest_id_fits_with_the_prefix() -> None:
    (header,) = session.to_peer([(b"x-hermes-session-id", b"x" * 253)], consumer="me", request_id="r")[3:]
    assert len(header[1]) == 256
