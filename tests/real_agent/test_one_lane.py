import re
from uuid import uuid4

import httpx
import pytest

from real_agent.asking import Heard, ask, hear
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOOL = '!!tool=terminal:{"command":"echo x"} go'


async def test_a_stream_comes_from_the_agent_that_was_named(client: httpx.AsyncClient) -> None:
    heard = await hear(client, "default@nas", "hello")

    assert heard.status == 200
    assert heard.text() == "[nas] echo: hello"
    assert heard.is_whole
    assert heard.chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert (heard.headers["x-switchboard-peer"], heard.headers["x-switchboard-profile"]) == ("nas", "default")
    assert heard.headers["x-request-id"]


async def test_a_bare_peer_name_means_its_default_profile(client: httpx.AsyncClient) -> None:
    assert (await hear(client, "laptop", "hello")).text() == "[laptop] echo: hello"


async def test_a_whole_answer_has_the_shape_that_the_agent_itself_gives(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    text = f"whole {uuid4().hex}"

    ours = await ask(client, "default@nas", text)
    async with _direct(stage) as agent:
        theirs = await ask(agent, "default@nas", text)

    assert ours.status_code == 200
    assert ours.json()["choices"][0]["message"]["content"] == f"[nas] echo: {text}"
    assert _shape(ours.json()) == _shape(theirs.json())
    assert ours.json()["usage"] == theirs.json()["usage"]


async def test_tools_are_told_while_they_run(client: httpx.AsyncClient) -> None:
    heard = await hear(client, "default@nas", TOOL)

    told = [(data["tool"], data["status"]) for name, data in heard.events if name == "hermes.tool.progress"]
    assert told == [("terminal", "running"), ("terminal", "completed")]
    assert heard.text() == "\n\n[nas] echo: go"
    names = [name for name, _ in heard.events]
    assert names.index("hermes.tool.progress") < len(names) - names[::-1].index("message") - 1, "told before the text"


@pytest.mark.parametrize("text", ["unchanged words", TOOL, "!!fail=401 x"])
async def test_frames_pass_as_the_agent_wrote_them(stage: Stage, client: httpx.AsyncClient, text: str) -> None:
    """Byte for byte, but for what differs between two turns (ids, times) and the name of the model."""
    ours = await hear(client, "default@nas", text)
    async with _direct(stage) as agent:
        theirs = await hear(agent, "hermes-agent", text)

    assert _told(ours) == _told(theirs)
    assert len(_told(ours)) > 2


async def test_a_providers_failure_is_passed_on_in_a_stream(client: httpx.AsyncClient) -> None:
    heard = await hear(client, "default@nas", "!!fail=401 x")

    last = heard.chunks[-1]
    assert heard.status == 200
    assert last["choices"][0]["finish_reason"] == "error"
    assert last["hermes"]["failed"] is True
    assert "told to fail with 401" in last["error"]["message"]
    assert heard.is_whole


async def test_a_providers_failure_is_a_502_with_the_agents_words(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "default@nas", "!!fail=401 x")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "peer_failed")
    assert "told to fail with 401" in error["message"]
    assert "default@nas" in error["message"]
    assert answer.headers["x-switchboard-started"] == "yes"


async def test_the_invoke_route_asks_a_real_agent(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/remote-agent/invoke", json={"target": "nas", "message": "ping"})

    told = answer.json()
    assert answer.status_code == 200
    assert (told["target"], told["reply"]) == ("default@nas", "[nas] echo: ping")
    assert told["duration_ms"] > 0


def _direct(stage: Stage) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {stage.nas.key}"}
    return httpx.AsyncClient(base_url=stage.nas.url, headers=headers, timeout=60, trust_env=False)


def _told(heard: Heard) -> list[bytes]:
    """The frames without comments, ids and times."""
    assert heard.status == 200
    frames = [frame for frame in heard.frames if not frame.startswith(b":")]
    timeless = [re.sub(rb'("created": )\d+', rb"\1-", frame) for frame in frames]
    return [re.sub(rb"chatcmpl-[0-9a-f]{29}", b"chatcmpl-", frame) for frame in timeless]


def _shape(value: object) -> object:
    """Keys in their order, without the values."""
    if isinstance(value, dict):
        return [(key, _shape(member)) for key, member in value.items()]
    if isinstance(value, list):
        return [_shape(member) for member in value]
    return type(value).__name__
