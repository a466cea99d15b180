import httpx
import pytest

from real_agent.asking import ask, hear
from real_agent.stage import Stage
from real_agent.switchboard import Switchboard

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_peer_is_up_with_the_version_of_its_agent(stage: Stage) -> None:
    peers = await stage.switchboard.peers()

    assert {name: peer["state"] for name, peer in peers.items()} == {"nas": "up", "laptop": "up"}
    profiles = [profile for peer in peers.values() for profile in peer["profiles"]]
    assert [profile["address"] for profile in profiles] == ["default@nas", "work@nas", "default@laptop"]
    assert {(profile["state"], profile["agent_version"]) for profile in profiles} == {("up", "0.19.0")}
    assert all(peer["round_trip_ms"] > 0 for peer in peers.values())


async def test_a_wrong_agent_key_is_told_as_such(stage: Stage, mistaken: Switchboard) -> None:
    async with mistaken.client() as client:
        answer = await ask(client, "default@nas", "hello")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "peer_unauthorized")
    assert "nas" in error["message"]
    assert "API_SERVER_KEY" in error["message"]
    assert stage.nas.key not in answer.text
    assert (await mistaken.peers())["nas"]["state"] == "unauthorized"


async def test_a_gateway_that_was_killed_is_told_as_such_and_the_others_answer(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    async with stage.laptop.killed():
        answer = await ask(client, "default@laptop", "hello")
        group = await hear(client, "all@fleet", "ping")
    await stage.all_up()

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "agent_unreachable")
    assert "laptop" in error["message"]
    assert answer.headers["x-switchboard-started"] == "no"
    lanes = {lane["address"]: (lane["state"], lane["code"]) for lane in group.chunks[-1]["switchboard"]["lanes"]}
    assert lanes == {
        "default@nas": ("done", None),
        "work@nas": ("done", None),
        "default@laptop": ("failed", "agent_unreachable"),
    }
    assert (await hear(client, "default@laptop", "back")).text() == "[laptop] echo: back"
