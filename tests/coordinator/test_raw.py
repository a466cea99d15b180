"""Raw access: one agent's API as it is, for keys that are good for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import openai
import pytest
from coordinator.keyring import give
from coordinator.stage import AGENT_KEY, OddPeer, Stage, plain_client, question, refusal
from structlog.testing import capture_logs
from waiting import until

CHAT = "/peers/nas/v1/chat/completions"
SOON_SECONDS = 5.0


@asynccontextmanager
async def raw_client(stage: Stage, *scopes: str) -> AsyncIterator[httpx.AsyncClient]:
    """Start the stage; a client whose key has these scopes."""
    key = give(stage, "raw", *(scopes or ("raw:*",)))
    await stage.start()
    async with stage.client_of(key) as client:
        yield client


async def plainly(stage: Stage, target: str, *, key: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    """Status and JSON of a request whose target no client library has tidied."""
    host, port = stage.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 0\r\n"
        "Connection: close\r\n\r\n".encode("latin-1")
    )
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


async def test_an_openai_client_needs_nothing_but_the_base_url(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"))
    key = give(stage, "raw", "raw:nas")
    await stage.start()
    for path, profile in (("/peers/nas/v1", "default"), ("/peers/nas/profiles/work/v1", "work")):
        http = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(api_key=key, base_url=stage.url + path, http_client=http, max_retries=0) as sdk:
            models = [model.id async for model in await sdk.models.list()]
            said = "[nas] echo: hello" if profile == "default" else "[nas/work] echo: hello"
            assert models == ["hermes-agent" if profile == "default" else "work"]
            whole = await sdk.chat.completions.create(model="any", messages=[{"role": "user", "content": "hello"}])
            assert whole.choices[0].message.content == said
            stream = await sdk.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            assert "".join(pieces) == said
            response = await sdk.responses.create(model="any", input="hello")
            assert response.output_text == said
            assert (await sdk.responses.retrieve(response.id)).output_text == response.output_text
            with pytest.raises(openai.NotFoundError, match="Response not found"):
                await sdk.responses.retrieve("resp_none")
    assert [turn.profile for turn in agent.turns] == ["default"] * 3 + ["work"] * 3
    assert {turn.body["model"] for turn in agent.turns} == {"any"}, "raw is raw"


async def test_what_an_agent_says_passes_as_it_is(stage: Stage) -> None:
    agent = await stage.machine("nas")
    async with (
        raw_client(stage) as client,
        plain_client(
            base_url=f"http://127.0.0.1:{agent.api_port}", headers={"authorization": f"Bearer {AGENT_KEY}"}
        ) as direct,
    ):
        for method, path, body in (
            ("GET", "/v1/models?limit=2&x=%20y", None),
            ("GET", "/v1/nothing/here", None),
            ("HEAD", "/v1/models", None),
            ("PATCH", "/v1/models", b"{}"),
            ("POST", "/v1/chat/completions", b"no JSON"),
            ("POST", "/v1/runs", b"{}"),
            ("DELETE", "/v1/responses/resp_none", None),
        ):
            through = await client.request(method, "/peers/nas" + path, content=body)
            told = await direct.request(method, path, content=body)
            assert (through.status_code, through.content) == (told.status_code, told.content), path
            assert through.headers.get("content-type") == told.headers.get("content-type")
            asked, plain = agent.requests[-2:]
            assert (asked.method, asked.path) == (plain.method, plain.path)


async def test_of_the_headers_only_what_concerns_the_agent_crosses(stage: Stage) -> None:
    agent = await stage.machine("nas")
    async with raw_client(stage) as client:
        dropped = {
            "cookie": "a=b",
            "origin": "http://evil.example",
            "x-forwarded-for": "100.64.0.1",
            "x-switchboard-to": "work@nas",
            "proxy-authorization": "Basic eA==",
            "connection": "keep-alive, x-of-this-hop",
            "x-of-this-hop": "1",
        }
        passed = {"x-hermes-session-id": "mine", "idempotency-key": "k", "x-own": "1", "x-request-id": "req-of-mine"}
        answer = await client.post(CHAT, json=question("m", "hi"), headers=dropped | passed)
    assert answer.status_code == 200
    got = agent.requests[-1].headers
    assert got["authorization"] == f"Bearer {AGENT_KEY}"
    assert {name: got.get(name) for name in passed} == passed
    assert not dropped.keys() & (got.keys() - {"connection"})
    assert "x-of-this-hop" not in got.get("connection", "")
    assert answer.headers.get_list("x-request-id") == ["req-of-mine"]
    assert (answer.headers["x-switchboard-peer"], answer.headers["x-switchboard-profile"]) == ("nas", "default")
    assert answer.headers["x-hermes-session-id"] == "mine"
    assert not {"server", "set-cookie", "strict-transport-security"} & {*answer.headers}


async def test_a_key_without_the_scope_is_refused_and_every_use_is_in_the_audit_log(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.machine("laptop")
    admin = give(stage, "boss", "admin")
    async with raw_client(stage, "raw:nas") as client, stage.client_of(admin) as boss:
        assert (await client.get("/peers/nas/v1/models?secret=1")).status_code == 200
        refused = await client.get("/peers/laptop/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
        assert (await stage.client.get("/peers/nas/v1/models")).status_code == 403

        async def entries() -> list[tuple[str, ...]]:
            told = (await boss.get("/api/audit")).json()["entries"]
            return [tuple(entry[name] for name in ("actor", "action", "subject", "outcome")) for entry in told]

        async def is_written() -> bool:
            return len([entry for entry in await entries() if entry[1] != "key.add"]) == 3

        await until(is_written, seconds=SOON_SECONDS)
        assert {entry for entry in await entries() if not entry[1].startswith("key.")} == {
            ("raw", "raw", "default@nas GET /v1/models", "done"),
            ("raw", "request", "raw:laptop", "insufficient_scope"),
            ("me", "request", "raw:nas", "insufficient_scope"),
        }
    assert len([request for request in agent.requests if request.path == "/v1/models?secret=1"]) == 1


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/peers/nas/v1/../../../-/profiles", 400),
        ("/peers/nas/v1/..%2f..%2f-/profiles", 400),
        ("/peers/nas/v1/%2e%2e/api/status", 400),
        ("/peers/nas/v1/x%252e%252e", 400),
        ("/peers/nas/v1//models", 400),
        ("/peers/nas/v1/models/", 400),
        ("/peers/nas/v1/models%00", 400),
        ("/peers/nas/v1/", 400),
        ("/peers/n%61s/v1/models", 404),
        ("/peers/nas/profiles/../v1/models", 404),
        ("/peers/nas/profiles/home/v1/models", 404),
        ("/peers/tower/v1/models", 404),
        ("/peers/nas/v1", 404),
        ("/peers/nas/api/sessions", 404),
    ],
)
async def test_no_path_leads_anywhere_but_to_that_api(stage: Stage, target: str, status: int) -> None:
    odd = await stage.odd("nas", refusal(200, b"{}"))
    key = give(stage, "raw", "raw:*")
    await stage.start()
    answer, told = await plainly(stage, target, key=key)
    assert (answer, told["error"]["code"]) == (status, "invalid_request" if status == 400 else "not_found")
    assert odd.turns == 0


async def test_a_method_that_no_agent_takes_is_refused(stage: Stage) -> None:
    await stage.machine("nas")
    async with raw_client(stage) as client:
        answer = await client.options("/peers/nas/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")


async def test_what_fails_between_here_and_the_agent_is_told_as_everywhere(stage: Stage) -> None:
    await stage.machine("nas", proxy_key="another-key-of-an-agent-0123456789")
    await stage.machine("laptop", password="another-password-0123456789")
    stage.peer("away", 9)
    stage.peer("bare", await stage.proxy("bare", 9))
    mute = await stage.odd("mute")
    async with raw_client(stage) as client:
        for peer, kind in (
            ("nas", (502, "peer_unauthorized", "no")),
            ("laptop", (502, "peer_unauthorized", "no")),
            ("away", (503, "peer_unavailable", "no")),
            ("bare", (502, "agent_unreachable", "no")),
            ("mute", (502, "peer_outcome_unknown", "unknown")),
        ):
            answer = await client.post(f"/peers/{peer}/v1/chat/completions", json=question("m", "hi"))
            error = answer.json()["error"]
            assert (answer.status_code, error["code"], answer.headers["x-switchboard-started"]) == kind
            assert peer in error["message"]
        assert mute.turns == 1, "what may have run is not sent again"
        too_long = await client.post("/peers/nas/v1/runs", content=b"x" * 10_000_001)
        assert (too_long.status_code, too_long.json()["error"]["code"]) == (413, "body_too_large")


async def test_what_starts_a_turn_waits_for_a_place_and_nothing_else_does(stage: Stage) -> None:
    agent = await stage.machine("nas", max_turns=1)
    async with raw_client(stage) as client:
        body = question("m", "!!delay=0.05 !!repeat=4000 first", stream=True)
        async with client.stream("POST", CHAT, json=body) as first:
            reading = first.aiter_bytes()  # kept: the end of an iterator is the end of its stream
            await anext(reading)
            second = asyncio.create_task(client.post("/peers/nas/v1/runs", json={"input": "second"}))

            async def is_waiting() -> bool:
                return bool((await stage.peers())["nas"]["turns"]["waiting"])

            await until(is_waiting, seconds=SOON_SECONDS)
            assert (await client.get("/peers/nas/v1/models")).status_code == 200
            assert [turn.text for turn in agent.turns] == [body["messages"][0]["content"]]
        started = await second
        assert started.status_code == 202, started.text
        turns = (await stage.peers())["nas"]["turns"]
        assert turns == {"limit": 1, "running": 0, "waiting": 0}
    await until(lambda: [turn.state for turn in agent.turns] == ["interrupted", "finished"], seconds=SOON_SECONDS)


async def test_a_client_that_leaves_the_queue_leaves_nothing_behind(stage: Stage) -> None:
    agent = await stage.machine("nas", max_turns=1)
    async with raw_client(stage) as client:
        body = question("m", "!!delay=0.05 !!repeat=4000 first", stream=True)

        async def waiting() -> int:
            return int((await stage.peers())["nas"]["turns"]["waiting"])

        async def is_waiting() -> bool:
            return await waiting() == 1

        async def is_gone() -> bool:
            return await waiting() == 0

        async with client.stream("POST", CHAT, json=body) as first:
            reading = first.aiter_bytes()  # kept: the end of an iterator is the end of its stream
            await anext(reading)
            second = asyncio.create_task(client.post(CHAT, json=question("m", "second")))
            await until(is_waiting, seconds=SOON_SECONDS)
            second.cancel()
            with suppress(asyncio.CancelledError):
                await second
            await until(is_gone, seconds=SOON_SECONDS)
    assert len(agent.turns) == 1


async def test_an_agents_429_passes_and_lowers_the_limit(stage: Stage) -> None:
    agent = await stage.machine("nas", agent_turns=1, max_turns=3)
    body = question("m", "!!delay=0.05 !!repeat=4000 x", stream=True)
    async with raw_client(stage) as client, client.stream("POST", CHAT, json=body) as running:
        reading = running.aiter_bytes()  # kept: the end of an iterator is the end of its stream
        await anext(reading)
        answer = await client.post(CHAT, json=question("m", "hi"))
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert answer.json()["error"]["code"] == "rate_limit_exceeded"
        assert (await stage.peers())["nas"]["turns"]["limit"] == 1
    assert len(agent.turns) == 1


async def test_the_rate_of_a_key_counts_what_starts_turns(stage: Stage) -> None:
    await stage.machine("nas")
    key = give(stage, "raw", "raw:nas", turns_per_minute=1)
    await stage.start()
    async with stage.client_of(key) as client:
        assert (await client.post(CHAT, json=question("m", "hi"))).status_code == 200
        assert (await client.get("/peers/nas/v1/models")).status_code == 200
        answer = await client.post(CHAT, json=question("m", "hi"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")


async def test_a_client_that_leaves_is_noticed_by_the_agent(stage: Stage) -> None:
    agent = await stage.machine("nas")
    async with raw_client(stage) as client:
        with capture_logs() as lines:
            body = question("m", "!!delay=0.05 !!repeat=4000 tick", stream=True)
            async with client.stream("POST", CHAT, json=body) as answer:
                reading = answer.aiter_bytes()  # kept: the end of an iterator is the end of its stream
                await anext(reading)
            await until(lambda: agent.turns[0].state == "interrupted", seconds=SOON_SECONDS)
            await until(lambda: any(line.get("path") == CHAT for line in lines), seconds=SOON_SECONDS)
    (line,) = [line for line in lines if line.get("path") == CHAT]
    assert (line["consumer"], line["model"], line["outcome"], line["status"]) == (
        "raw",
        "default@nas",
        "client_left",
        200,
    )


async def test_an_answer_that_breaks_off_is_not_ended_cleanly(stage: Stage) -> None:
    await stage.machine("nas")
    async with raw_client(stage) as client:
        with capture_logs() as lines:
            pieces: list[bytes] = []
            with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
                async with client.stream("POST", CHAT, json=question("m", "!!cut a b c", stream=True)) as answer:
                    assert answer.status_code == 200
                    async for piece in answer.aiter_bytes():
                        pieces.append(piece)  # noqa: PERF401 - what came before the break is wanted
            await until(lambda: any(line["event"] == "request" for line in lines), seconds=SOON_SECONDS)
    assert b'"content"' in b"".join(pieces)
    assert b"[DONE]" not in b"".join(pieces)
    (line,) = [line for line in lines if line.get("path") == CHAT]
    assert (line["event"], line["code"]) == ("request", "peer_outcome_unknown")


class Endless(OddPeer):
    """Writes as much as is taken; `is_held` once nobody takes any more."""

    PIECE, MOST, HELD_SECONDS = b"x" * 65536, 512 * 1024 * 1024, 0.5

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.is_held = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/v1/models" not in head:
            writer.write(await self._answered(head, reader))
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: x/x\r\nTransfer-Encoding: chunked\r\n\r\n")
            while self.written < self.MOST and not self.is_held:
                writer.write(b"%x\r\n%b\r\n" % (len(self.PIECE), self.PIECE))
                self.written += len(self.PIECE)
                try:
                    async with asyncio.timeout(self.HELD_SECONDS):
                        await writer.drain()
                except TimeoutError:
                    self.is_held = True
        writer.close()


async def test_an_agent_is_held_back_by_a_client_that_takes_nothing(stage: Stage) -> None:
    endless = await stage.join(Endless())
    stage.peer("nas", endless.port)
    async with raw_client(stage) as client, client.stream("GET", "/peers/nas/v1/models"):
        await until(lambda: endless.is_held or endless.written >= endless.MOST, seconds=30)
    assert endless.is_held
    assert endless.written < 64 * 1024 * 1024, "the kernel's buffers of two connections, and little more"


async def test_a_turn_that_runs_elsewhere_is_no_business_of_raw_access(stage: Stage) -> None:
    agent = await stage.machine("nas")
    async with raw_client(stage, "raw:nas", "*") as client:
        await client.post(CHAT, json=question("m", "hi"))
        assert (await client.get("/api/turns")).json() == {"turns": [], "next": None}
    assert len(agent.turns) == 1
