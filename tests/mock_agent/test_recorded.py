"""The mock is held to what a real hermes-agent 0.19.0 was seen to do."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from recorded.exchanges import RECORDED_KEY, Exchange, exchanges, frame_shapes, frames, shape
from switchboard_mock_agent.agent import MockAgent

ALWAYS_OURS = {"date", "server", "content-length", "connection"}
PARTLY = {"/health/detailed", "/api/status"}
"""Of these the mock tells what a proxy and a coordinator look at."""


@pytest.fixture
async def agent() -> AsyncIterator[MockAgent]:
    async with MockAgent("peer-a", key=RECORDED_KEY, profiles=("default", "worker")) as agent:
        yield agent


def named(name: str, *titles: str) -> list[Any]:
    """The exchanges of one file whose title holds one of the words; all where none is given."""
    chosen = [one for one in exchanges(name) if not titles or any(title in one.title for title in titles)]
    assert chosen
    return [pytest.param(one, id=f"{name} {number} {one.title[:40]}") for number, one in enumerate(chosen)]


RECORDED = [
    *named("api-01-health"),
    *named("api-02-health-detailed"),
    *named("api-03-models"),
    *named("api-06-chat"),
    *named("api-07-chat-stream")[:1],
    *named("api-08-chat-tools"),
    *named(
        "api-09-errors",
        "invalid JSON",
        "not an object",
        "no messages",
        "wrong type",
        "only a system",
        "empty user",
        "unknown part",
        "no credentials",
        "wrong method",
        "unknown route",
        "root",
    ),
    *named("api-11-cors", "any Origin", "Origin: null", "Host header", "Content-Type"),
    *named("api-17-upstream-errors", "provider 401"),
    *named("api-23-profile-prefix", "multiplexing off"),
    *named("api-26-paths", "trailing", "double", "encoded", "HEAD"),
]


async def ask(port: int, recorded: Exchange) -> httpx.Response:
    """Send a recorded request. The recorded model failed by `!!status`, which is `!!fail` here."""
    headers = {name: value for name, value in recorded.headers.items() if name not in ("Content-Length", "Host")}
    async with httpx.AsyncClient(trust_env=False) as client:
        request = client.build_request(
            recorded.method,
            f"http://127.0.0.1:{port}/",
            headers=headers,
            content=recorded.content.replace("!!status=", "!!fail=") or None,
        )
        request.url = request.url.copy_with(raw_path=recorded.path.encode())
        request.headers["host"] = recorded.headers.get("Host", request.headers["host"])
        return await client.send(request)


@pytest.mark.parametrize("recorded", RECORDED)
async def test_the_mock_answers_as_the_real_one(agent: MockAgent, recorded: Exchange) -> None:
    answer = await ask(agent.api_port, recorded)
    assert answer.status_code == recorded.status
    assert set(answer.headers) - ALWAYS_OURS == {name.lower() for name in recorded.answered} - ALWAYS_OURS
    assert answer.headers.get("content-type") == recorded.answered.get("Content-Type")
    if recorded.answered.get("Content-Type") == "text/event-stream":
        assert frame_shapes(frames(answer.text)) == frame_shapes(recorded.frames)
    elif recorded.body.startswith("{"):
        _same_json(answer.json(), json.loads(recorded.body), partly=recorded.path in PARTLY)
    elif recorded.status != 500:  # there the real one tells its debug words
        assert answer.text.strip() == recorded.body.strip()


def _same_json(told: Any, recorded: Any, *, partly: bool) -> None:
    if "error" in recorded:
        assert told == recorded
    elif partly:
        assert [key for key in recorded if key in told] == list(told)
    else:
        assert shape(told) == shape(recorded)


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
        httpx.AsyncClient(trust_env=False, headers=headers) as client,
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
