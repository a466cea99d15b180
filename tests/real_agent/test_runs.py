from uuid import uuid4

import httpx
import pytest

from real_agent import turns
from real_agent.asking import ask, hear
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOOL = '!!tool=terminal:{"command":"echo x"} go'
RUNS = {"x-switchboard-transport": "runs"}


async def test_a_turn_over_runs_comes_to_what_the_same_turn_over_chat_comes_to(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    over_runs = await turns.read(client, await turns.begin(client, "nas", TOOL, transport="runs"))
    over_chat = await turns.read(client, await turns.begin(client, "nas", TOOL, transport="chat"))

    assert turns.names(over_chat) == [
        *("turn.accepted", "lane.sent", "lane.tool", "lane.text", "lane.done", "turn.done"),
    ]
    assert turns.names(over_runs) == [*turns.names(over_chat)[:2], "lane.run", *turns.names(over_chat)[2:]]
    assert turns.text_of(over_runs) == turns.text_of(over_chat) == "\n\n[nas] echo: go"
    assert _tools(over_runs) == _tools(over_chat) == [("terminal", "running"), ("terminal", "completed")]
    assert over_runs[-1].data["usage"] == over_chat[-1].data["usage"]
    run = await _run(stage, next(event.data["run_id"] for event in over_runs if event.name == "lane.run"))
    assert (run["status"], run["output"]) == ("completed", "[nas] echo: go")


async def test_a_chat_client_sees_a_run_as_a_chat(client: httpx.AsyncClient) -> None:
    over_runs = await hear(client, "nas", TOOL, headers=RUNS)
    over_chat = await hear(client, "nas", TOOL)

    assert over_runs.is_whole
    assert over_runs.text() == over_chat.text()
    assert [name for name, _ in over_runs.events] == [name for name, _ in over_chat.events]
    assert over_runs.chunks[-1]["usage"] == over_chat.chunks[-1]["usage"]
    assert over_runs.chunks[-1]["choices"] == over_chat.chunks[-1]["choices"]
    assert over_runs.chunks[-1]["switchboard"]["lanes"][0]["run_id"].startswith("run_")


async def test_a_run_answers_whole_too(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "work@nas", "hello", headers=RUNS)

    assert answer.json()["choices"][0]["message"]["content"] == "[nas/work] echo: hello"
    assert answer.json()["usage"]["total_tokens"] > 0


async def test_a_providers_failure_fails_a_run(client: httpx.AsyncClient) -> None:
    ended = await turns.ended(client, await turns.begin(client, "nas", "!!fail=401 x", transport="runs"))

    assert (ended["state"], ended["code"]) == ("failed", "peer_failed")
    assert "told to fail with 401" in ended["message"]


async def test_a_run_knows_what_its_client_says_was_said(client: httpx.AsyncClient) -> None:
    said = [["user", "my cat is Ada"], ["assistant", "noted"]]
    messages = [{"role": role, "content": content} for role, content in [*said, ["user", "!!history"]]]

    answer = await client.post("/v1/chat/completions", json={"model": "nas", "messages": messages}, headers=RUNS)

    assert turns.history(answer) == said


@pytest.mark.parametrize("before", ["chat", "runs"])
async def test_a_run_knows_what_the_journal_has_of_its_session(client: httpx.AsyncClient, before: str) -> None:
    session = {"x-hermes-session-id": uuid4().hex}
    await ask(client, "work@nas", "my cat is Ada", headers={**session, "x-switchboard-transport": before})

    answer = await ask(client, "work@nas", "!!history", headers=session | RUNS)

    assert turns.history(answer) == [["user", "my cat is Ada"], ["assistant", "[nas/work] echo: my cat is Ada"]]


async def test_a_run_knows_what_its_agent_alone_has_stored(stage: Stage, client: httpx.AsyncClient) -> None:
    session = uuid4().hex
    async with stage.switchboard.doors["nas"].client() as door:  # as before there was a coordinator
        await ask(door, "hermes-agent", "my cat is Ada", headers={"x-hermes-session-id": f"me.{session}"})

    answer = await ask(client, "nas", "!!history", headers={"x-hermes-session-id": session} | RUNS)

    assert turns.history(answer) == [["user", "my cat is Ada"], ["assistant", "[nas] echo: my cat is Ada"]]


async def test_a_chat_knows_what_was_said_over_runs(client: httpx.AsyncClient) -> None:
    session = {"x-hermes-session-id": uuid4().hex}
    await ask(client, "nas", "my cat is Ada", headers=session | RUNS)

    answer = await ask(client, "nas", "!!history", headers=session)

    assert turns.history(answer) == [["user", "my cat is Ada"], ["assistant", "[nas] echo: my cat is Ada"]]


def _tools(events: list[turns.Shown]) -> list[tuple[str, str]]:
    told = [event.data["progress"] for event in events if event.name == "lane.tool"]
    return [(progress["tool"], progress["status"]) for progress in told]


async def _run(stage: Stage, run_id: str) -> dict[str, str]:
    async with stage.nas.client() as agent:
        found: dict[str, str] = (await agent.get(f"/v1/runs/{run_id}")).json()
    return found
