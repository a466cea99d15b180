"""The mock is held to what a real hermes-agent 0.19.0 was seen to do."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from agent_client import NO_CERTIFICATES
from recorded.exchanges import RECORDED_KEY, Exchange, exchanges, frame_shapes, frames, shape, stable
from switchboard_mock_agent.agent import MockAgent

ALWAYS_OURS = {"date", "server", "content-length", "connection"}
PARTLY = {"/health/detailed", "/api/status"}
"""Of these the mock tells what a proxy and a coordinator look at."""


@pytest.fixture
async def agent() -> AsyncIterator[MockAgent]:
    async with MockAgent("peer-a", key=RECORDED_KEY, profiles=("default", "worker"), subscribe_seconds=0.05) as agent:
        yield agent


def named(name: str, *titles: str) -> list[Any]:
    """The exchanges of one file whose title holds one of the words; all where none is given."""
    chosen = [one for one in exchanges(name) if not titles or any(title in one.title for title in titles)]
    assert chosen
    return [pytest.param(one, id=f"{name} {number} {one.title[:40]}") for number, one in enumerate(chosen)]


LATE = "nothing pending any more"
"""Asked while the real one still worked, which the mock does in no time."""


RECORDED = [
    *named("api-01-health"),
    *named("api-02-health-detailed"),
    *named("api-03-models"),
    *named("api-06-chat"),
    *named("api-07-chat-stream")[:1],
    *named("api-08-chat-tools"),
    *named("api-09-errors"),
    *named("api-11-cors", "any Origin", "Origin: null", "Host header", "Content-Type"),
    *named("api-12-session-headers"),
    *named("api-17-upstream-errors", "answers 500", "provider 401"),
    *named("api-20-run-approval", "over /v1/chat/completions"),
    *named("api-23-profile-prefix", "multiplexing off"),
    *named("api-26-paths", "trailing", "double", "encoded", "HEAD"),
]


async def ask(port: int, recorded: Exchange) -> httpx.Response:
    """Send a recorded request."""
    headers = {name: value for name, value in recorded.headers.items() if name not in ("Content-Length", "Host")}
    async with httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES) as client:
        request = client.build_request(
            recorded.method, f"http://127.0.0.1:{port}/", headers=headers, content=recorded.content or None
        )
        request.url = request.url.copy_with(raw_path=recorded.path.encode())
        request.headers["host"] = recorded.headers.get("Host", request.headers["host"])
        return await client.send(request)


@pytest.mark.parametrize("recorded", RECORDED)
async def test_the_mock_answers_as_the_real_one(agent: MockAgent, recorded: Exchange) -> None:
    hold(await ask(agent.api_port, recorded), recorded)


def hold(answer: httpx.Response, recorded: Exchange) -> None:
    """The mock's answer against the real one's: headers and members by value, where they are the same each time.

    After a tool the real one's model said other words; there the shape counts.
    """
    assert answer.status_code == recorded.status
    assert lasting(answer.headers) == lasting(httpx.Headers(recorded.answered))
    body = re.sub(r"fake failure \d+", "the model was told to fail", recorded.body)
    like = shape if " tool sa" in body and "no-such-dir" not in body else stable
    if recorded.is_stream:
        told, real = frames(answer.text), replace(recorded, body=body).frames
        assert frame_shapes(told) == frame_shapes(real)
        if like is stable:
            assert values(told) == values(real)
    elif body.startswith("{"):
        told, real = answer.json(), json.loads(body)
        if recorded.path in PARTLY and "error" not in real:
            assert [key for key in real if key in told] == list(told)
        else:
            assert like(told) == like(real)
    elif recorded.status != 500:  # there the real one tells its debug words
        assert answer.text.strip() == body.strip()


def lasting(headers: httpx.Headers) -> dict[str, str]:
    """The headers that are the same each time."""
    told = {name: value for name, value in headers.items() if name not in ALWAYS_OURS}
    if re.fullmatch("[0-9a-f-]{36}", told.get("x-hermes-session-id", "")):
        told["x-hermes-session-id"] = "a UUID"
    if "x-hermes-error" in told:
        told["x-hermes-error"] = re.sub(r"fake failure \d+", "the model was told to fail", told["x-hermes-error"])
    return told


def values(told: list[tuple[str, str]]) -> list[Any]:
    """The events of a stream by value."""
    return [(event, data if data == "[DONE]" else stable(json.loads(data))) for event, data in told]


@pytest.mark.parametrize("name", ["api-13-idempotency", "api-18-responses", "api-19-runs", "api-20-run-approval"])
async def test_a_conversation_goes_as_with_the_real_one(agent: MockAgent, name: str) -> None:
    """Each file from its beginning to its end, on one agent; the mock's ids stand in for those of the real one."""
    ids: dict[str, str] = {}
    reading: list[tuple[asyncio.Task[httpx.Response], Exchange]] = []
    for recorded in exchanges(name):
        if recorded.title == LATE:
            continue
        asked = replace(recorded, path=put(recorded.path, ids), content=put(recorded.content, ids))
        task = asyncio.create_task(ask(agent.api_port, asked))
        if any(word in recorded.body for word in ("run.cancelled", "approval.responded")) and recorded.is_stream:
            reading.append((task, recorded))  # it ends by what is asked next
            continue
        answer = await task
        if recorded.body.startswith("{") and recorded.status < 300:
            ids |= learnt(json.loads(recorded.body), answer.json())
        hold(answer, replace(recorded, body=put(recorded.body, ids)))
    for task, recorded in reading:
        told, real = values(frames((await task).text)), values(recorded.frames)
        assert (told == real) if "approval.responded" in recorded.body else (told[-1] == real[-1])
    assert reading or name in ("api-13-idempotency", "api-18-responses")


def put(text: str, ids: dict[str, str]) -> str:
    for theirs, ours in ids.items():
        text = text.replace(theirs, ours)
    return text


def learnt(theirs: dict[str, Any], ours: dict[str, Any]) -> dict[str, str]:
    """The ids of the real one, each with what the mock has in its place."""
    return {theirs[name]: ours[name] for name in ("id", "run_id") if name in theirs}


async def test_an_approval_that_nobody_asked_for_is_refused_as_by_the_real_one(agent: MockAgent) -> None:
    (recorded,) = (one for one in exchanges("api-20-run-approval") if one.title == LATE)
    start = next(one for one in exchanges("api-20-run-approval") if one.path == "/v1/runs")
    run: str = (await ask(agent.api_port, replace(start, content='{"input":"!!silence=60 hi"}'))).json()["run_id"]
    theirs = recorded.path.split("/")[3]
    answer = await ask(agent.api_port, replace(recorded, path=recorded.path.replace(theirs, run)))
    hold(answer, replace(recorded, body=recorded.body.replace(theirs, run)))


async def test_the_same_key_and_question_runs_once(agent: MockAgent) -> None:
    first, again, other = exchanges("api-13-idempotency")
    answers = await asyncio.gather(ask(agent.api_port, first), ask(agent.api_port, again))
    assert len(agent.turns) == 1
    ids = {answer.json()["id"] for answer in answers}
    assert len(ids) == 2, "each has an id of its own"
    await ask(agent.api_port, other)
    assert [turn.text for turn in agent.turns] == ["pay once", "pay twice"]


async def test_the_messages_of_a_session_are_told_as_by_the_real_one(agent: MockAgent) -> None:
    (recorded,) = (one for one in exchanges("api-21-sessions") if one.path.endswith("/messages"))
    headers = {"authorization": f"Bearer {RECORDED_KEY}", "x-hermes-session-id": "sess-1"}
    url = f"http://127.0.0.1:{agent.api_port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_CERTIFICATES, headers=headers) as client:
        real = json.loads(recorded.body)
        for message in real["data"]:
            if message["role"] == "user":
                body = {"messages": [{"role": "user", "content": message["content"]}]}
                await client.post("/v1/chat/completions", json=body)
        told = (await client.get(recorded.path)).json()
        unknown = await client.get("/api/sessions/nope/messages")
    assert shape({**told, "data": []}) == shape({**real, "data": []})
    assert [shape(message) for message in told["data"]] == [shape(message) for message in real["data"]]
    for name in ("role", "tool_name", "finish_reason"):
        assert [message[name] for message in told["data"]] == [message[name] for message in real["data"]]
    (recorded,) = (one for one in exchanges("api-21-sessions") if one.path == "/api/sessions/nope")
    assert (unknown.status_code, unknown.json()) == (404, json.loads(recorded.body))


async def test_a_draining_gateway_refuses_new_turns_and_says_so_in_detail(agent: MockAgent) -> None:
    recorded = [one for one in exchanges("api-25-shutdown") if one.status == 503 or one.method == "GET"]
    assert [one.status for one in recorded] == [503, 200, 200]
    agent.gateway.is_draining = True
    for one in recorded:
        answer = await ask(agent.api_port, one)
        hold(answer, one)
    assert answer.json()["gateway_state"] == json.loads(one.body)["gateway_state"] == "draining"
    assert agent.turns == []


async def test_a_named_profile_of_a_shared_gateway_answers_as_the_real_one() -> None:
    recorded = [param.values[0] for param in named("api-23-profile-prefix", "multiplex_profiles", "unknown profile")]
    async with MockAgent("peer-a", key=RECORDED_KEY, profiles=("default", "worker"), multiplex=True) as agent:
        for one in recorded:
            answer = await ask(agent.api_port, one)
            assert answer.status_code == one.status
            told = json.loads(one.body)
            assert answer.json() == told if one.status == 404 else shape(answer.json()) == shape(told)
        assert answer.status_code == 404


async def test_one_turn_too_many_is_refused_as_the_real_one_does() -> None:
    (recorded, *_) = exchanges("api-15-429")
    async with MockAgent("peer-a", key=RECORDED_KEY, max_turns=1) as agent:
        agent.gateway.max_turns = 0
        assert (await ask(agent.api_port, recorded)).status_code == 200, "0 is no limit"
        agent.gateway.max_turns = 1
        async with busy(agent):
            answer = await ask(agent.api_port, recorded)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == recorded.answered["Retry-After"]
    told = {**json.loads(recorded.body)["error"], "message": "Too many concurrent runs (max 1)"}
    assert answer.json() == {"error": told}


@asynccontextmanager
async def busy(agent: MockAgent) -> AsyncIterator[None]:
    """A turn runs in this block."""
    body = {"stream": True, "messages": [{"role": "user", "content": "!!silence=60 hi"}]}
    headers = {"authorization": f"Bearer {agent.key}"}
    url = f"http://127.0.0.1:{agent.api_port}/v1/chat/completions"
    async with (
        httpx.AsyncClient(trust_env=False, verify=NO_CERTIFICATES, headers=headers) as client,
        client.stream("POST", url, json=body) as answer,
    ):
        assert answer.status_code == 200
        yield


@pytest.mark.parametrize("recorded", named("dash-02-host"))
async def test_the_dashboard_looks_at_the_host_as_the_real_one(agent: MockAgent, recorded: Exchange) -> None:
    answer = await ask(agent.dashboard_port, recorded)
    assert answer.status_code == recorded.status
    if recorded.status == 400:
        assert answer.json() == json.loads(recorded.body)
