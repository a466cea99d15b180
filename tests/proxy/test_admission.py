"""Nothing unauthenticated reaches anything, whatever it looks like."""

import pytest
from doubles.raw_client import WEBSOCKET, basic
from doubles.recording_upstream import RecordingUpstream, answer
from doubles.running_proxy import BASIC, PASSWORD, RunningProxy

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATHS = [
    *("/", "/v1/models", "/p/default/v1/models", "/p/nobody/v1/models", "/agent/health/detailed", "/api/status"),
    *("/-/ready", "/-/profiles", "/-/none", "//v1/models", "/v1/../x", "/v1/%2e%2e", "/api/ws?token=abc"),
]
CREDENTIALS = [
    None,
    "",
    "Basic",
    "Basic !!!",
    "Basic \xe4\xf6\xfc",
    "Bearer " + PASSWORD,
    basic("coordinator", "wrong"),
    basic("admin", PASSWORD),
    BASIC.replace("Basic", "Digest"),
]


async def assert_refused(proxy: RunningProxy, method: str, raw: bytes) -> None:
    async with proxy.connect() as client:
        client.send(raw)
        reply = await client.reply(method)
        assert reply["x-switchboard-started"] == "no"
        if reply.status == 429:  # they all come from one address
            assert reply["retry-after"]
            return
        assert reply.status == 401
        assert reply["www-authenticate"] == 'Basic realm="hermes-switchboard", charset="UTF-8"'
        if method != "HEAD":
            assert reply.json()["error"]["code"] == "invalid_credentials"


@pytest.mark.parametrize("headers", [(), WEBSOCKET], ids=["plain", "websocket"])
async def test_no_request_without_the_credential_reaches_anything(
    headers: tuple[str, ...], proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for method in METHODS if not headers else ["GET"]:
        await assert_refused(proxy, method, proxy.head(method, "/v1/models", *headers, credential=None))
    for path in PATHS:
        await assert_refused(proxy, "GET", proxy.head("GET", path, *headers, credential=None))
    for credential in CREDENTIALS:
        await assert_refused(proxy, "GET", proxy.head("GET", "/", *headers, credential=credential))
    twice = proxy.head("GET", "/v1/models", f"Authorization: {BASIC}", *headers)
    await assert_refused(proxy, "GET", twice)
    assert (agent.connections, dashboard.connections) == (0, 0)


async def test_no_body_is_read_before_the_credential(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for framing in ("Content-Length: 99999999999", "Transfer-Encoding: chunked"):
        raw = proxy.head("POST", "/v1/chat/completions", framing, "Expect: 100-continue", credential=None)
        await assert_refused(proxy, "POST", raw)
    assert (agent.connections, dashboard.connections) == (0, 0)


NOT_HTTP = {
    "no request": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:8642 HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown method": b"STEAL /v1/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\n\r\n",
    "a path beyond ASCII": b"GET /v1/\xc3\xa4 HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\n\r\n",
    "a bare line feed in a value": b"GET /v1/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\nA: b\nC: d\r\n\r\n",
    "a NUL in a value": b"GET /v1/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\nA: b\0\r\n\r\n",
    "a folded header": b"GET /v1/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\nA: b\r\n c\r\n\r\n",
    "a blank before the colon": b"GET /v1/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: {basic}\r\nA : b\r\n\r\n",
}
FRAMINGS = {
    "no number": "Content-Length: ten",
    "a sign": "Content-Length: +10",
    "negative": "Content-Length: -1",
    "hexadecimal": "Content-Length: 0x10",
    "a fraction": "Content-Length: 1.0",
    "underscored": "Content-Length: 1_0",
    "a list": "Content-Length: 3, 3",
    "empty": "Content-Length:",
    "beyond 64 bits": "Content-Length: 99999999999999999999999",
    "other digits": "Content-Length: \xb2",
    "twice": "Content-Length: 3\r\nContent-Length: 3",
    "two of them": "Content-Length: 3\r\nContent-Length: 4",
    "length and chunked": "Content-Length: 3\r\nTransfer-Encoding: chunked",
    "chunked and length": "Transfer-Encoding: chunked\r\nContent-Length: 3",
    "made up": "Transfer-Encoding: xchunked",
    "chunked first": "Transfer-Encoding: chunked, gzip",
    "identity": "Transfer-Encoding: identity",
}


@pytest.mark.parametrize("raw", NOT_HTTP.values(), ids=NOT_HTTP.keys())
async def test_what_is_no_clean_http_goes_no_further_even_with_the_credential(
    raw: bytes, proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    async with proxy.connect() as client:
        client.send(raw.replace(b"{host}", proxy.host.encode()).replace(b"{basic}", BASIC.encode()))
        reply = await client.reply()
        assert (reply.status, reply["connection"]) in [(status, "close") for status in (400, 405, 505)]
        assert await client.rest() == b""
    assert (agent.connections, dashboard.connections) == (0, 0)


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/upload"])
async def test_a_body_whose_end_two_readers_could_see_differently_goes_no_further(
    path: str, framing: str, proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    async with proxy.connect() as client:
        client.send(proxy.head("POST", path, *framing.split("\r\n")) + b"3\r\nabc\r\n0\r\n\r\n")
        assert (await client.reply()).status == 400
        assert await client.rest() == b""
    assert (agent.requests, dashboard.requests) == ([], [])


async def test_a_host_or_origin_that_is_not_ours_is_refused_before_anything_is_asked(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for path in ("/", "/v1/models", "/-/ready"):
        async with proxy.connect() as client:
            client.send(proxy.head("GET", path, "Host: evil.example:9121", host=False))
            reply = await client.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (421, "host_refused")
        refused = await proxy.ask("POST", path, "Origin: http://evil.example", "Content-Type: text/plain", body=b"{}")
        assert (refused.status, refused.json()["error"]["code"]) == (403, "origin_refused")
        assert (refused["x-switchboard-started"], refused["www-authenticate"]) == ("no", None)
    assert (agent.connections, dashboard.connections) == (0, 0)


@pytest.mark.parametrize("hosts", [0, 2])
async def test_no_host_and_two_are_refused_and_nothing_behind_them_is_read(
    hosts: int, proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    async with proxy.connect() as client:
        wrong = proxy.head("GET", "/v1/models", *[f"Host: {proxy.host}"] * hosts, host=False)
        client.send(wrong + proxy.head("GET", "/v1/models"))
        reply = await client.reply()
        assert (reply.status, reply.json()["error"]["code"]) == (400, "malformed_request")
        assert await client.rest() == b""
    assert (agent.connections, dashboard.connections) == (0, 0)


async def test_the_proxys_own_origin_passes_and_ends_here(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    assert (await proxy.ask("GET", "/v1/models", f"Origin: http://{proxy.host}")).status == 200
    assert agent.requests[0].all("origin") == []


@pytest.mark.parametrize(
    "path", ["//v1/models", "/x/../v1/models", "/v1/%2e%2e/x", "/p%2fdefault/v1/models", "/v1/%00"]
)
async def test_an_ambiguous_path_is_refused_before_anything_is_asked(
    path: str, proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    reply = await proxy.ask("GET", path)
    assert (reply.status, reply.json()["error"]["code"]) == (400, "path_refused")
    assert reply["x-switchboard-started"] == "no"
    assert (agent.connections, dashboard.connections) == (0, 0)


async def test_a_target_that_names_a_host_is_refused(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for method, target in (("GET", "http://127.0.0.1:1/v1/models"), ("OPTIONS", "*"), ("GET", "127.0.0.1:1")):
        reply = await proxy.ask(method, target)
        assert (reply.status, reply.json()["error"]["code"]) == (400, "malformed_request")
    assert (agent.connections, dashboard.connections) == (0, 0)


async def test_an_offer_of_another_protocol_than_websocket_is_refused_with_a_body_or_without(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    for path in ("/v1/chat/completions", "/api/upload"):
        for method, body in (("GET", None), ("POST", b"ping")):
            reply = await proxy.ask(method, path, *offer, body=body)
            assert (reply.status, reply.json()["error"]["code"]) == (400, "upgrade_refused")
    assert (agent.connections, dashboard.connections) == (0, 0)


async def test_a_websocket_that_the_upstream_does_not_agree_to_gets_its_answer_and_the_end(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for path, upstream in (("/api/ws?token=t", dashboard), ("/v1/x", agent)):
        upstream.always(answer(403))
        async with proxy.connect() as client:
            client.send(proxy.head("GET", path, *WEBSOCKET))
            reply = await client.reply()
            assert (reply.status, reply["connection"]) == (403, "close")
            assert await client.rest() == b""
        assert (upstream.requests[0].all("upgrade"), upstream.requests[0].all("connection")) == (
            ["websocket"],
            ["Upgrade"],
        )
