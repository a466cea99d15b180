"""What crosses the proxy, when, and how it ends."""

import asyncio
import time
from pathlib import Path

import pytest
from doubles.proxy_log import Log
from doubles.recording_upstream import Asked, RecordingUpstream, answer
from doubles.running_proxy import KEY, PASSWORD, RunningProxy, running_proxy, write_secret
from switchboard_mock_agent.agent import MockAgent
from switchboard_proxy.settings import Profile
from waiting import until

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
FRAME = b"data: one\n\n"


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/v1/models?a=b&token=%2F", "/v1/models?a=b&token=%2F"),
        ("/p/default/v1/models?x", "/v1/models?x"),
        ("/agent/health/detailed?y=1", "/health/detailed?y=1"),
        ("/agent/api/sessions/a%20b", "/api/sessions/a%20b"),
    ],
)
async def test_an_agent_is_asked_with_its_bearer_in_place_of_ours(
    asked: str, target: str, proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    assert (await proxy.ask("GET", asked, "X-Hermes-Session-Id: s", "X-Forwarded-For: 1.2.3.4")).body == b"ok"
    [got] = agent.requests
    assert (got.target, got.all("authorization")) == (target, [f"Bearer {KEY}"])
    assert (got.all("host"), got.all("x-hermes-session-id")) == ([f"127.0.0.1:{agent.port}"], ["s"])
    assert got.all("x-forwarded-for") == []
    assert dashboard.connections == 0


@pytest.mark.parametrize("path", ["/", "/api/status?token=t", "/health", "/p/default", "/v1"])
async def test_everything_else_is_the_dashboards_without_a_credential(
    path: str, proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    assert (await proxy.ask("GET", path, "X-Hermes-Session-Token: t", "Cookie: a=b")).status == 200
    [got] = dashboard.requests
    assert (got.target, got.all("authorization"), got.all("x-hermes-session-token")) == (path, [], ["t"])
    assert (got.all("host"), got.all("cookie")) == ([f"127.0.0.1:{dashboard.port}"], ["a=b"])
    assert agent.connections == 0


async def test_what_only_this_hop_may_say_does_not_come_out(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    agent.always(
        answer(
            *(401, "WWW-Authenticate: Bearer", "Server: aiohttp", "Date: x", "Strict-Transport-Security: max-age=1"),
            *("X-Switchboard-Started: yes", "X-Hermes-Completed: false", "Connection: X-Gone", "X-Gone: 1"),
        )
    )
    reply = await proxy.ask("GET", "/v1/models")
    assert reply.status == 401
    assert sorted(name for name, _ in reply.headers) == ["content-length", "x-hermes-completed"]


async def test_an_answer_without_a_body_ends_well(proxy: RunningProxy, dashboard: RecordingUpstream) -> None:
    async with proxy.connect() as client:
        for method, status, length in (("HEAD", 200, 9), ("GET", 304, 9), ("GET", 204, None), ("OPTIONS", 200, 0)):
            lengths = f"Content-Length: {length}\r\n" if length is not None else ""
            dashboard.always(f"HTTP/1.1 {status} X\r\n{lengths}\r\n".encode())
            client.send(proxy.head(method, "/"))
            assert (await client.reply(method)).status == status


async def test_frames_arrive_one_by_one(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    goes_on = asyncio.Event()

    async def script(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(CHUNKED + chunk(FRAME))
        await goes_on.wait()
        writer.write(chunk(b"data: two\n\n") + b"0\r\n\r\n")

    agent.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("GET", "/v1/x"))
        assert (await client.head())["content-type"] == "text/event-stream"
        assert await client.piece() == FRAME
        goes_on.set()
        assert [await client.piece(), await client.piece()] == [b"data: two\n\n", b""]


@pytest.mark.parametrize("head", [CHUNKED + chunk(FRAME), b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + FRAME])
async def test_a_broken_answer_is_never_ended_cleanly(
    head: bytes, proxy: RunningProxy, agent: RecordingUpstream, log: Log
) -> None:
    async def script(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        await writer.drain()
        writer.close()

    agent.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("GET", "/v1/x"))
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reply()
        assert await client.rest() == b""
    assert [line["outcome"] for line in log.lines] == ["broken"]


@pytest.mark.parametrize("first", [b"", CHUNKED + chunk(FRAME)], ids=["before its answer", "in mid-stream"])
async def test_a_client_that_leaves_closes_its_upstream(
    first: bytes, proxy: RunningProxy, agent: RecordingUpstream, log: Log
) -> None:
    left = asyncio.Event()

    async def script(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        assert await reader.read() == b""
        left.set()
        raise ConnectionResetError

    agent.script = script
    async with proxy.connect() as client:
        client.send(proxy.head("POST", "/v1/x", "Content-Length: 2") + b"{}")
        await until(lambda: bool(agent.requests), seconds=5)
        if first:
            await client.head()
            await client.piece()
        client.leave()
        began = time.perf_counter()
        await asyncio.wait_for(left.wait(), 5)
        assert time.perf_counter() - began <= 0.5
    await until(lambda: bool(log.lines), seconds=5)
    assert log.lines[0]["outcome"] == "client_left"


async def test_a_client_that_leaves_while_sending_is_told_as_such(
    proxy: RunningProxy, agent: RecordingUpstream, log: Log
) -> None:
    async with proxy.connect() as client:
        client.send(proxy.head("POST", "/v1/x", "Content-Length: 99") + b"{}")
        await until(lambda: agent.open_now == 1, seconds=5)
        client.leave()
        await until(lambda: agent.open_now == 0 and bool(log.lines), seconds=5)
    assert [line["outcome"] for line in log.lines] == ["client_left"]
    assert agent.requests == []


async def test_no_agent_and_no_dashboard_is_told_apart_from_an_unknown_outcome(tmp_path: Path) -> None:
    async with running_proxy(tmp_path, {"default": Profile(port=1)}, 2) as proxy:
        for path, code in (("/v1/x", "agent_unreachable"), ("/", "dashboard_unreachable")):
            reply = await proxy.ask("POST", path, body=b"{}")
            assert (reply.status, reply.json()["error"]["code"]) == (502, code)
            assert reply["x-switchboard-started"] == "no"


@pytest.mark.parametrize(
    ("path", "status", "times"),
    [
        ("/p/default/v1/runs/run_1", 200, 3),
        ("/p/default/v1/runs/run_1/events?x", 502, 2),
        ("/v1/runs/r/events", 502, 2),
    ],
)
async def test_a_runs_events_have_one_reader_and_are_never_asked_for_twice(
    path: str, status: int, times: int, proxy: RunningProxy, agent: RecordingUpstream
) -> None:
    async def script(_: Asked, __: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(agent.requests) == 2:
            writer.transport.abort()
        writer.write(answer(200))

    agent.script = script
    await proxy.ask("GET", "/v1/models")
    assert (await proxy.ask("GET", path)).status == status
    assert len(agent.requests) == times


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 20", b"SSH-2.0-x\r\n"])
async def test_an_agent_that_took_the_request_and_gave_no_answer_may_have_run_it(
    said: bytes, proxy: RunningProxy, agent: RecordingUpstream
) -> None:
    async def script(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    agent.script = script
    reply = await proxy.ask("POST", "/v1/x", body=b"{}")
    assert (reply.status, reply.json()["error"]["code"]) == (502, "agent_outcome_unknown")
    assert reply["x-switchboard-started"] == "unknown"
    assert len(agent.requests) == 1


async def test_a_body_that_arrived_whole_goes_in_with_its_length(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for path, upstream in (("/v1/x", agent), ("/x", dashboard)):
        async with proxy.connect() as client:
            client.send(
                proxy.head("POST", path, "Transfer-Encoding: chunked") + chunk(b"pi") + chunk(b"ng") + b"0\r\n\r\n"
            )
            assert (await client.reply()).status == 200
        assert (upstream.requests[0].body, upstream.requests[0].all("content-length")) == (b"ping", ["4"])


async def test_an_agent_gets_a_chunked_body_whole_and_a_dashboard_as_it_comes(
    proxy: RunningProxy, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    for path, upstream, framing in (("/v1/x", agent, ["4"]), ("/x", dashboard, [])):
        async with proxy.connect() as client:
            client.send(proxy.head("POST", path, "Transfer-Encoding: chunked") + chunk(b"pi"))
            if upstream is dashboard:
                await until(lambda: dashboard.connections == 1, seconds=5)
            client.send(chunk(b"ng") + b"0\r\n\r\n")
            assert (await client.reply()).status == 200
        assert (upstream.requests[0].body, upstream.requests[0].all("content-length")) == (b"ping", framing)
    assert agent.connections == 1


async def test_a_body_longer_than_agents_take_is_refused_before_anything_is_asked(
    tmp_path: Path, agent: RecordingUpstream, dashboard: RecordingUpstream
) -> None:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(tmp_path, profiles, dashboard.port, max_body_bytes=10) as proxy:
        assert (await proxy.ask("POST", "/v1/x", body=b"x" * 10)).status == 200
        assert (await proxy.ask("POST", "/x", body=b"x" * 11)).status == 200
        too_long = [await proxy.ask("POST", "/v1/x", body=b"x" * 11)]
        async with proxy.connect() as client:
            client.send(proxy.head("POST", "/v1/x", "Transfer-Encoding: chunked") + chunk(b"x" * 6) * 2)
            too_long.append(await client.reply())
        for reply in too_long:
            assert (reply.status, reply.json()["error"]["code"]) == (413, "body_too_large")
            assert reply["x-switchboard-started"] == "no"
    assert [len(asked.body) for asked in agent.requests] == [10]


async def test_a_length_in_a_trailer_does_not_cut_the_body(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    async with proxy.connect() as client:
        trailed = chunk(b"pingpong") + b"0\r\nContent-Length: 2\r\n\r\n"
        client.send(proxy.head("POST", "/v1/x", "Transfer-Encoding: chunked") + trailed)
        await client.reply()
    assert [asked.body for asked in agent.requests] in ([], [b"pingpong"])
    assert all(asked.all("content-length") == ["8"] for asked in agent.requests)


async def test_one_log_line_a_request_without_query_or_secrets(proxy: RunningProxy, log: Log) -> None:
    await proxy.ask("GET", "/v1/models?token=secret-query", "Cookie: secret-cookie")
    await proxy.ask("GET", "/-/none")
    await proxy.ask("GET", "/", credential="Basic c2VjcmV0")
    await until(lambda: len(log.lines) == 3, seconds=5)
    assert [(line["path"], line["status"], line["outcome"]) for line in log.lines] == [
        *(("/v1/models", 200, "done"), ("/-/none", 404, "not_found"), ("/", 401, "invalid_credentials"))
    ]
    assert not any(word in str(log.lines) for word in ("secret-", PASSWORD, KEY, "c2VjcmV0"))


async def test_a_fault_of_ours_is_not_logged_as_done(
    proxy: RunningProxy, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_proxy.app.Proxy._lead", lambda *_: 1 / 0)
    reply = await proxy.ask("GET", "/")
    assert (reply.status, reply["x-switchboard-started"]) == (500, "unknown")
    assert [line["outcome"] for line in log.lines] == ["internal_error"]


async def test_the_proxy_answers_for_itself(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    assert (await proxy.ask("GET", "/-/ready")).json() == {"status": "ready"}
    unknown = await proxy.ask("GET", "/p/nobody/v1/models")
    assert (unknown.status, unknown.json()["error"]["code"]) == (404, "profile_unknown")
    assert agent.connections == 0


async def test_the_two_commands_this_began_with(tmp_path: Path) -> None:
    async with (
        MockAgent("nas", key=KEY) as mock,
        running_proxy(tmp_path, {"default": Profile(port=mock.api_port)}, mock.dashboard_port) as proxy,
    ):
        curl = ("curl", "-sS", "-w", "\n%{http_code}", "-u", f"coordinator:{PASSWORD}")
        data = '{"model":"hermes-agent","messages":[{"role":"user","content":"ping"}],"stream":false}'
        post = (
            "-X",
            "POST",
            f"http://{proxy.host}/v1/chat/completions",
            "-H",
            "Content-Type: application/json",
            "-d",
            data,
        )
        for arguments, words in (((f"http://{proxy.host}/v1/models",), '"data"'), (post, "[nas] echo: ping")):
            process = await asyncio.create_subprocess_exec(*curl, *arguments, stdout=asyncio.subprocess.PIPE)
            out = (await asyncio.wait_for(process.communicate(), 20))[0].decode()
            assert words in out
            assert out.endswith("\n200")
        assert [(turn.profile, turn.text) for turn in mock.turns] == [("default", "ping")]


@pytest.mark.parametrize("multiplex", [True, False])
async def test_a_turn_for_one_profile_never_runs_as_another(multiplex: bool, tmp_path: Path) -> None:
    async with MockAgent("nas", key=KEY, profiles=("default", "work"), multiplex=multiplex) as mock:
        work = Profile(port=mock.api_port, prefix="/p/work", key_file="api_server_key")
        profiles = {"default": Profile(port=mock.api_port), "work": work}
        async with running_proxy(tmp_path, profiles, mock.dashboard_port) as proxy:
            body = b'{"model":"x","messages":[{"role":"user","content":"ping"}]}'
            reply = await proxy.ask("POST", "/p/work/v1/chat/completions", body=body)
            states = {
                told["name"]: told["state"] for told in (await proxy.ask("GET", "/-/profiles")).json()["profiles"]
            }
    if multiplex:
        assert (reply.status, [turn.profile for turn in mock.turns]) == (200, ["work"])
        assert states == {"default": "up", "work": "up"}
    else:
        assert (reply.status, reply.json()["error"]["code"]) == (503, "profile_not_served")
        assert (reply["x-switchboard-started"], mock.turns) == ("no", [])
        assert states == {"default": "up", "work": "down"}


async def test_a_wrong_key_and_a_missing_agent_are_told_by_profile(tmp_path: Path) -> None:
    write_secret(tmp_path / "wrong", "a-key-that-is-not-the-agents")
    async with MockAgent("nas", key=KEY) as mock:
        profiles = {
            "default": Profile(port=mock.api_port, key_file="wrong"),
            "gone": Profile(port=1, prefix="/p/gone", key_file="wrong"),
        }
        async with running_proxy(tmp_path, profiles, mock.dashboard_port) as proxy:
            told = (await proxy.ask("GET", "/-/profiles")).json()["profiles"]
            gone = await proxy.ask("POST", "/p/gone/v1/x", body=b"{}")
    assert [one["state"] for one in told] == ["unauthorized", "unreachable"]
    assert (gone.status, gone.json()["error"]["code"]) == (502, "agent_unreachable")


async def test_what_the_dashboard_calls_a_401_where_no_challenge_helps_leaves_a_browser_its_credential(
    proxy: RunningProxy, dashboard: RecordingUpstream
) -> None:
    dashboard.always(answer(401, body=b'{"detail":"Unauthorized"}'))
    assert (await proxy.ask("GET", "/api/auth/me?x=1")).status == 403
    assert (await proxy.ask("GET", "/api/config")).status == 401


async def test_a_body_that_is_refused_while_its_profile_is_asked_about_is_no_fault(tmp_path: Path) -> None:
    async with MockAgent("nas", key=KEY, profiles=("default", "work"), multiplex=True) as mock:
        work = Profile(port=mock.api_port, prefix="/p/work", key_file="api_server_key")
        profiles = {"default": Profile(port=mock.api_port), "work": work}
        async with running_proxy(tmp_path, profiles, mock.dashboard_port, max_body_bytes=10) as proxy:
            async with proxy.connect() as client:
                client.send(proxy.head("POST", "/p/work/v1/x", "Transfer-Encoding: chunked") + chunk(b"x" * 11))
                reply = await client.reply()
            assert (reply.status, reply.json()["error"]["code"]) == (413, "body_too_large")
            assert mock.turns == []
