"""`/v1/responses` and raw access in front of real agents."""

import asyncio
import time

import httpx
import openai
import pytest
from switchboard_coordinator.database import open_blocking
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.keys import Grant
from switchboard_coordinator.keys.scopes import Scopes
from waiting import until

from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

KNOWN_SECONDS = 20.0


def sdk(url: str, key: str) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=url, api_key=key, http_client=http, max_retries=0)


async def test_responses_stream_are_whole_and_follow_each_other(stage: Stage) -> None:
    async with sdk(f"{stage.switchboard.url}/v1", stage.switchboard.key) as client:
        first = await client.responses.create(model="work@nas", input="one response")
        assert (first.output_text, first.status) == ("[nas/work] echo: one response", "completed")
        more = "!!history and one more"
        stream = await client.responses.create(model="work@nas", input=more, previous_response_id=first.id, stream=True)
        told = [event async for event in stream]
    assert told[-1].type == "response.completed"
    said = "".join(event.delta for event in told if event.type == "response.output_text.delta")
    assert said.startswith("[nas/work] ")
    assert "one response" in said


async def test_a_tool_of_a_whole_response_is_told(stage: Stage, client: httpx.AsyncClient) -> None:
    body = {"model": "laptop", "input": '!!tool=terminal:{"command": "echo of-a-tool"} go'}
    answer = await client.post("/v1/responses", json=body)
    kinds = [item["type"] for item in answer.json()["output"]]
    assert kinds == ["function_call", "function_call_output", "message"], answer.text
    assert "of-a-tool" in answer.text


async def test_consumers_never_meet_in_a_conversation(stage: Stage, client: httpx.AsyncClient) -> None:
    said = []
    async with stage.switchboard.client_of_you() as you:
        for asker, text in ((client, "mine alone"), (you, "!!history yours"), (client, "!!history mine again")):
            body = {"model": "laptop", "input": text, "conversation": "a-name-of-two"}
            answer = await asker.post("/v1/responses", json=body)
            said.append(answer.json()["output"][-1]["content"][0]["text"])
    assert ["mine alone" in text for text in said] == [True, False, True], said


async def test_raw_access_is_the_agents_api_for_an_sdk_and_for_runs(stage: Stage, client: httpx.AsyncClient) -> None:
    key = await _given(stage, "raw-one", "raw:nas")
    async with sdk(f"{stage.switchboard.url}/peers/nas/profiles/work/v1", key) as raw:
        assert [model.id async for model in await raw.models.list()] == ["work"]
        chunks = await raw.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "raw hello"}], stream=True
        )
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
    assert said == "[nas/work] echo: raw hello"
    headers = {"authorization": f"Bearer {key}"}
    body = {"input": "!!delay=0.2 !!repeat=200 raw run"}
    run = (await client.post("/peers/nas/v1/runs", json=body, headers=headers)).json()["run_id"]
    await until(lambda: bool(stage.model.turns("nas", "default", "raw run")), seconds=KNOWN_SECONDS)
    stopped = await client.post(f"/peers/nas/v1/runs/{run}/stop", headers=headers)
    assert (stopped.status_code, stopped.json()["status"]) == (200, "stopping")
    assert (await client.get("/peers/nas/v1/models")).status_code == 403, "this key has no raw scope"


async def _given(stage: Stage, name: str, *scopes: str) -> str:
    """A new key, once the coordinator knows it."""
    key, grant = f"sk-{name}-0123456789", Grant(Scopes.parse(scopes))

    def add() -> None:
        engine = open_blocking(stage.switchboard.key_file.with_name("switchboard.db"))
        with engine.begin() as connection:
            keys.add(connection, name, grant, key, actor="uid:0", now=time.time())
        engine.dispose()

    await asyncio.to_thread(add)

    async def is_known() -> bool:
        async with stage.switchboard.client() as client:
            answer = await client.get("/v1/models", headers={"authorization": f"Bearer {key}"})
        return bool(answer.status_code == 200)

    await until(is_known, seconds=KNOWN_SECONDS)
    return key
