import json
import shutil

import pytest

from real_agent.seed import CHAT, MODELS, run_at
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.skipif(shutil.which("curl") is None, reason="install curl, which this test is about")
async def test_the_seeds_two_curl_commands(stage: Stage) -> None:
    door = stage.switchboard.doors["nas"]

    models, answer = [json.loads((await run_at(command, door)).output) for command in (MODELS, CHAT)]

    assert len(door.password) == 32
    assert [model["id"] for model in models["data"]] == ["hermes-agent"]
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "[nas] echo: ping"}


async def test_the_dashboard_comes_through_the_proxy(stage: Stage) -> None:
    async with stage.switchboard.doors["nas"].client() as client:
        page = await client.get("/")
        status = await client.get("/api/status")

    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "__HERMES_SESSION_TOKEN__" in page.text
    assert (status.status_code, status.json()["version"]) == (200, "0.19.0")


async def test_the_agents_own_routes_are_below_agent(stage: Stage) -> None:
    async with stage.switchboard.doors["nas"].client() as client:
        health = await client.get("/agent/health/detailed")

    assert (health.status_code, health.json()["platform"]) == (200, "hermes-agent")


async def test_nothing_passes_without_the_pair(stage: Stage) -> None:
    door = stage.switchboard.doors["nas"]
    async with door.client() as client:
        client.auth = None  # type: ignore[assignment]
        answers = [
            await client.get(path) for path in ("/", "/v1/models", "/p/work/v1/models", "/agent/health", "/api/status")
        ]
        key = await client.get("/v1/models", headers={"authorization": f"Bearer {stage.nas.key}"})

    assert {answer.status_code for answer in [*answers, key]} == {401}
