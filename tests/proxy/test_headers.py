"""Which headers cross, each way."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_proxy.headers import from_agent, from_webui, to_client, to_upstream
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


def up(headers: Headers, bearer: bytes | None = KEY, upgrade: bytes | None = None) -> Headers:
    return to_upstream(headers, host=b"127.0.0.1:8642", bearer=bearer, upgrade=upgrade)


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
        *(b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-made-up"),
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
    assert from_agent(headers) == [(b"x-kept", b"3")]


def test_connection_cannot_take_away_what_the_proxy_puts_in() -> None:
    named = [(b"connection", b"host, authorization, content-length")]
    crossed = up([*named, (b"content-length", b"99")], upgrade=b"websocket")
    assert crossed == [
        *((b"host", b"127.0.0.1:8642"), (b"authorization", KEY)),
        *((b"connection", b"Upgrade"), (b"upgrade", b"websocket")),
    ]


@pytest.mark.parametrize("answer", [from_agent, to_client])
@pytest.mark.parametrize(
    "name",
    [*HOP_BY_HOP, b"strict-transport-security", b"server", b"date", b"x-switchboard-started", b"x-switchboard-peer"],
)
def test_what_belongs_to_this_hop_or_speaks_for_us_does_not_come_out(
    name: bytes, answer: Callable[[Headers], list[Header]]
) -> None:
    for spelled in (name, name.title(), name.upper()):
        assert answer([(spelled, b"theirs"), (b"Content-Type", b"a/b")]) == [(b"content-type", b"a/b")]


def test_only_the_proxy_asks_for_a_credential_in_an_agents_name() -> None:
    headers = [(b"WWW-Authenticate", b"Bearer")]
    assert from_agent(headers) == []
    assert to_client(headers) == [(b"www-authenticate", b"Bearer")]


def test_what_an_agent_says_of_its_turn_comes_out() -> None:
    told = [
        *((b"x-hermes-session-id", b"s1"), (b"x-hermes-completed", b"false"), (b"retry-after", b"1")),
        *((b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"content-length", b"2")),
        *((b"content-security-policy", b"default-src 'none'"), (b"x-accel-buffering", b"no")),
    ]
    assert from_agent(told) == told


@pytest.mark.parametrize("prefix", [b"/peers", b"/a/b/c/d", b"/~x/_.-"])
def test_a_plain_prefix_goes_in(prefix: bytes) -> None:
    assert (b"x-forwarded-prefix", prefix) in up([(b"x-forwarded-prefix", prefix)], bearer=None)


@pytest.mark.parametrize(
    "prefixes", [[b""], [b"/"], [b"a"], [b"/a/"], [b"/a/b/c/d/e"], [b"/.."], [b"/a/./b"], [b'/a"x'], [b"/a", b"/b"]]
)
def test_no_other_prefix_does(prefixes: list[bytes]) -> None:
    assert up([(b"x-forwarded-prefix", prefix) for prefix in prefixes], bearer=None) == [(b"host", b"127.0.0.1:8642")]


def test_our_own_cookie_stays_here_and_the_others_go_in() -> None:
    crossed = up([(b"cookie", b"a=b; switchboard_socket_ab12=1.2; c=d")], bearer=None)
    assert crossed[1:] == [(b"cookie", b"a=b; c=d")]


@pytest.mark.parametrize(
    ("name", "value", "seen"),
    [
        (b"location", b"/login", b"/webui/login"),
        (b"location", b"http://127.0.0.1:8787/login?a=/b", b"/webui/login?a=/b"),
        (b"location", b"login", b"login"),
        (b"location", b"https://elsewhere.example/x", b"https://elsewhere.example/x"),
        (b"location", b"//elsewhere.example/x", b"//elsewhere.example/x"),
        (b"set-cookie", b"s=1; Path=/; HttpOnly", b"s=1; Path=/webui/; HttpOnly"),
        (b"set-cookie", b"s=1; HttpOnly; path=/api", b"s=1; HttpOnly; path=/webui/api"),
        (b"set-cookie", b"s=/; HttpOnly", b"s=/; HttpOnly"),
        (b"content-type", b"text/html", b"text/html"),
    ],
)
def test_where_a_webui_names_a_path_it_is_seen_below_its_mount(name: bytes, value: bytes, seen: bytes) -> None:
    assert from_webui([(name, value)], mount=b"/webui", host=b"127.0.0.1:8787") == [(name, seen)]


NAMES = st.sampled_from([*HOP_BY_HOP, b"authorization", b"host", b"origin", b"x-forwarded-for", b"accept", b"x-a"])


@given(st.lists(st.tuples(NAMES, st.sampled_from([b"x-a", b"host", b"authorization, x-a", b"keep-alive"]))))
def test_whatever_a_client_sends_an_agent_sees_one_host_one_bearer_and_no_origin(headers: Headers) -> None:
    names = [name for name, _ in up(headers)]
    assert [value for name, value in up(headers) if name in (b"host", b"authorization")] == [b"127.0.0.1:8642", KEY]
    assert not {b"origin", b"x-forwarded-for", *HOP_BY_HOP} & set(names)
