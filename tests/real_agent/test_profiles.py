from uuid import uuid4

import httpx
import pytest

from real_agent.asking import ask, hear
from real_agent.stage import Stage
from real_agent.switchboard import Switchboard

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_second_profile_answers_and_no_turn_for_it_reaches_the_first(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    mark = uuid4().hex

    streamed = await hear(client, "work@nas", f"{mark} streamed")
    whole = await ask(client, "work@nas", f"{mark} whole")

    assert streamed.text() == f"[nas/work] echo: {mark} streamed"
    assert streamed.headers["x-switchboard-profile"] == "work"
    assert whole.json()["choices"][0]["message"]["content"] == f"[nas/work] echo: {mark} whole"
    assert len(stage.model.turns("nas", "work", mark)) == 2
    assert stage.model.turns("nas", "default", mark) == []


async def test_the_first_profile_is_not_the_second(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex

    await hear(client, "default@nas", mark)

    assert len(stage.model.turns("nas", "default", mark)) == 1
    assert stage.model.turns("nas", "work", mark) == []


@pytest.mark.parametrize("is_stream", [True, False])
async def test_a_profile_that_a_gateway_would_run_as_another_is_refused(
    stage: Stage, mistaken: Switchboard, is_stream: bool
) -> None:
    """Without multiplexing a real gateway takes any `/p/<name>/`, and runs it as its default profile."""
    mark = uuid4().hex

    async with mistaken.client() as client:
        answer = await ask(client, "work@laptop", mark, stream=is_stream)

    assert answer.status_code == 502, answer.text
    error = answer.json()["error"]
    assert error["code"] == "peer_misconfigured"
    assert "laptop" in error["message"]
    assert "work" in error["message"]
    assert answer.headers["x-switchboard-started"] == "no"
    assert [asked for asked in stage.model.asked if mark in asked.text] == []


async def test_its_other_profile_answers_meanwhile(mistaken: Switchboard) -> None:
    async with mistaken.client() as client:
        assert (await hear(client, "default@laptop", "still here")).text() == "[laptop] echo: still here"
    profiles = {profile["name"]: profile["state"] for profile in (await mistaken.peers())["laptop"]["profiles"]}
    assert profiles == {"default": "up", "work": "down"}


async def test_the_gateway_itself_would_have_run_it_as_default(stage: Stage) -> None:
    """What the refusal protects from, seen on the real thing."""
    mark = uuid4().hex
    headers = {"authorization": f"Bearer {stage.laptop.key}"}

    async with httpx.AsyncClient(
        base_url=f"{stage.laptop.url}/p/work", headers=headers, timeout=60, trust_env=False
    ) as agent:
        heard = await hear(agent, "work", mark)

    assert heard.text() == f"[laptop] echo: {mark}"
    assert len(stage.model.turns("laptop", "default", mark)) == 1
