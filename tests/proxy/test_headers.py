"""Which headers cross, each way."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_proxy.headers import agent_answer, dashboard_answer, to_upstream
from switchboard_relay import Headers
from switchboard_relay.wire import Header

KEY = b"Bearer api-server-key-0001"
HOP_BY_HOP = (
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


def up(headers: Headers, bearer: bytes | None = KEY, framing: tuple[bytes, bytes] | None = None) -> Headers:
    return to_upstream(headers, host=b"127.0.0.1:8642", bearer=bearer, framing=framing)


def test_an_agent_gets_its_own_host_and_its_bearer_in_place_of_the_clients() -> None:
    crossed = up([(b"host", b"nas:9121"), (b"authorization", b"Basic abc"), (b"accept", b"*/*")])
    assert crossed == [(b"host", b"127.0.0.1:8642"), (b"accept", b"*/*"), (b"authorization", KEY)]


def test_the_dashboard_gets_no_authorization_at_all() -> None:
    crossed = up([(b"host", b"nas:9121"), (b"authorization", b"Basic abc"), (b"cookie", b"a=b")], bearer=None)
    assert crossed == [(b"host", b"127.0.0.1:8642"), (b"cookie", b"a=b")]


@pytest.mark.parametrize(
    "name",
    [
        *HOP_BY_HOP,
        *(b"authorization", b"content-length", b"expect", b"forwarded", b"host", b"origin", b"x-real-ip"),
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-prefix", b"x-forwarded-made-up"),
        *(b"tailscale-user-login", b"tailscale-user-name", b"tailscale-made-up"),
        *(b"proxy-made-up", b"x-switchboard-started", b"x-switchboard-made-up"),
    ],
)
def test_what_belongs_to_this_hop_or_claims_an_identity_does_not_go_in(name: bytes) -> None:
    assert up([(name, b"theirs"), (b"x-hermes-session-id", b"s1")], bearer=None) == [
        (b"host", b"127.0.0.1:8642"),
        (b"x-hermes-session-id", b"s1"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        *(b"x-hermes-session-id", b"x-hermes-session-key", b"x-hermes-session-token", b"idempotency-key"),
        *(b"content-type", b"accept", b"accept-encoding", b"range", b"if-none-match", b"cookie", b"referer"),
        *(b"user-agent", b"traceparent", b"tracestate", b"x-request-id", b"last-event-id", b"x-made-up"),
    ],
)
def test_everything_else_goes_in_unchanged(name: bytes) -> None:
    assert (name, b" Value; a=\xc3\xa4 ") in up([(name, b" Value; a=\xc3\xa4 ")])


def test_a_header_that_is_there_twice_goes_in_twice_and_in_order() -> None:
    crossed = up([(b"accept", b"a"), (b"x-a", b"1"), (b"accept", b"b")], bearer=None)
    assert crossed[1:] == [(b"accept", b"a"), (b"x-a", b"1"), (b"accept", b"b")]


def test_what_connection_names_ends_here_both_ways() -> None:
    headers = [(b"connection", b"close, X-Secret ,x-other"), (b"x-secret", b"1"), (b"x-other", b"2"), (b"x-kept", b"3")]
    assert up(headers, bearer=None) == [(b"host", b"127.0.0.1:8642"), (b"x-kept", b"3")]
    assert agent_answer(200, headers) == [(b"x-kept", b"3")]


def test_connection_cannot_take_away_what_the_proxy_puts_in() -> None:
    named = [(b"connection", b"host, authorization, content-length")]
    crossed = up([*named, (b"content-length", b"99")], framing=(b"content-length", b"2"))
    assert crossed == [(b"host", b"127.0.0.1:8642"), (b"authorization", KEY), (b"content-length", b"2")]


@pytest.mark.parametrize("answer", [agent_answer, dashboard_answer])
@pytest.mark.parametrize(
    "name",
    [*HOP_BY_HOP, b"strict-transport-security", b"server", b"date", b"x-switchboard-started", b"x-switchboard-peer"],
)
def test_what_belongs_to_this_hop_or_speaks_for_us_does_not_come_out(
    name: bytes, answer: Callable[[int, Headers], list[Header]]
) -> None:
    for spelled in (name, name.title(), name.upper()):
        assert answer(200, [(spelled, b"theirs"), (b"Content-Type", b"a/b")]) == [(b"content-type", b"a/b")]


def test_only_the_proxy_asks_for_a_credential_in_an_agents_name() -> None:
    headers = [(b"WWW-Authenticate", b"Bearer")]
    assert agent_answer(200, headers) == []
    assert dashboard_answer(200, headers) == [(b"www-authenticate", b"Bearer")]


def test_what_an_agent_says_of_its_turn_comes_out() -> None:
    told = [
        *((b"x-hermes-session-id", b"s1"), (b"x-hermes-completed", b"false"), (b"retry-after", b"1")),
        *((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"2")),
        *((b"content-security-policy", b"default-src 'none'"), (b"x-accel-buffering", b"no")),
    ]
    assert agent_answer(200, told) == told


NAMES = st.sampled_from([*HOP_BY_HOP, b"authorization", b"host", b"origin", b"x-forwarded-for", b"accept", b"x-a"])


@given(st.lists(st.tuples(NAMES, st.sampled_from([b"x-a", b"host", b"authorization, x-a", b"keep-alive"]))))
def test_whatever_a_client_sends_an_agent_sees_one_host_one_bearer_and_no_origin(headers: Headers) -> None:
    names = [name for name, _ in up(headers)]
    assert [value for name, value in up(headers) if name in (b"host", b"authorization")] == [b"127.0.0.1:8642", KEY]
    assert not {b"origin", b"x-forwarded-for", *HOP_BY_HOP} & set(names)
