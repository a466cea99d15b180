from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from real_agent import turns
from real_agent.asking import hear
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Precious:
    """A folder that the agent is going to delete."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.command = f"rm -rf {folder}"
        self.request = f'!!tool=terminal:{{"command":"{self.command}"}} go'

    @property
    def is_there(self) -> bool:
        """Whether it is still there."""
        return self.folder.exists()


@pytest.fixture
def precious(stage: Stage) -> Precious:
    return Precious(stage.folder / f"precious-{uuid4().hex}")


@pytest.mark.parametrize(("choice", "is_deleted"), [("once", True), ("deny", False)])
async def test_an_agent_that_asks_does_as_it_is_told(
    client: httpx.AsyncClient, precious: Precious, choice: str, is_deleted: bool
) -> None:
    turn = await turns.begin(client, "nas", precious.request, transport="runs")
    async with turns.reading(client, turn) as events:
        asked = (await turns.first(events, "lane.approval"))[-1].data
        (waiting,) = (await turns.told(client, turn))["lanes"][0]["approvals"]
        assert precious.is_there, "it waits"

        answer = await _answer(client, turn, asked["approval"], choice)
        rest = [event async for event in events]

    assert (asked["command"], asked["choices"]) == (precious.command, ["once", "session", "always", "deny"])
    assert waiting["approval"] == asked["approval"]
    assert answer.status_code == 200
    assert precious.is_there is not is_deleted
    approved = rest[0]
    assert (approved.name, approved.data["choice"], approved.data["by"]) == ("lane.approved", choice, "me")
    assert rest[-1].name == "turn.done"
    again = await _answer(client, turn, asked["approval"], choice)
    assert (again.status_code, again.json()["code"]) == (409, "approval_not_pending")


async def test_another_consumer_cannot_answer(stage: Stage, client: httpx.AsyncClient, precious: Precious) -> None:
    turn = await turns.begin(client, "nas", precious.request, transport="runs")
    async with turns.reading(client, turn) as events, stage.switchboard.client_of_you() as you:
        approval = (await turns.first(events, "lane.approval"))[-1].data["approval"]
        theirs = await _answer(you, turn, approval, "once")
        assert (await _answer(client, turn, approval, "deny")).status_code == 200

    assert (theirs.status_code, theirs.json()["code"]) == (404, "turn_not_found")
    assert (await turns.ended(client, turn))["state"] == "done"
    assert precious.is_there


async def test_a_chat_client_is_told_that_what_it_cannot_allow_was_denied(
    client: httpx.AsyncClient, precious: Precious
) -> None:
    heard = await hear(client, "nas", precious.request, headers={"x-switchboard-transport": "runs"})

    assert precious.is_there
    assert heard.is_whole
    assert f"[approval denied: the agent asked for leave to run `{precious.command}`" in heard.text()
    assert heard.text().endswith("[nas] echo: go")


async def _answer(client: httpx.AsyncClient, turn: str, approval: str, choice: str) -> httpx.Response:
    return await client.post(f"/api/turns/{turn}/approvals/{approval}", json={"choice": choice})
