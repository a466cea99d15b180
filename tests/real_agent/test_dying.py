from uuid import uuid4

import httpx
import pytest
from waiting import until

from real_agent import turns
from real_agent.asking import stream
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

BEGUN_SECONDS = 30.0
LONG = "!!delay=0.1 !!repeat=10"


async def test_a_proxy_that_dies_breaks_a_chat_and_costs_a_run_nothing(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex
    run = await turns.begin(client, "nas", f"{LONG} {mark}", transport="runs")
    async with stream(client, "work@nas", f"{LONG} {mark}") as answer:
        chat = answer.headers["x-switchboard-turn"]
        await _both_speak(client, run, chat)
        async with stage.switchboard.killed("nas-proxy"):
            heard = (await answer.aread()).decode()
            interrupted = await turns.ended(client, chat)
    done = await turns.ended(client, run)
    await stage.all_up()

    assert '"code":"peer_outcome_unknown"' in heard.split("\n\n")[-2], "the last frame says so"
    assert "[DONE]" not in heard
    assert (interrupted["state"], interrupted["code"]) == ("interrupted", "peer_outcome_unknown")
    assert interrupted["lanes"][0]["attempts"] == 1
    assert (await turns.read(client, chat))[-1].name == "turn.interrupted"
    assert done["state"] == "done"
    assert done["lanes"][0]["text"] == f"[nas] echo: {' '.join([mark] * 10)}"
    assert len(stage.model.turns("nas", "default", mark)) == 1
    assert len(stage.model.turns("nas", "work", mark)) == 1


async def test_an_agent_that_dies_ends_both_with_an_unknown_outcome(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex
    run = await turns.begin(client, "laptop", f"{LONG} {mark} run", transport="runs")
    async with stream(client, "laptop", f"{LONG} {mark} chat") as answer:
        chat = answer.headers["x-switchboard-turn"]
        await _both_speak(client, run, chat)
        async with stage.laptop.killed():
            heard = (await answer.aread()).decode()
            interrupted = await turns.ended(client, chat)
    lost = await turns.ended(client, run)
    await stage.all_up()

    assert '"code":"peer_outcome_unknown"' in heard.split("\n\n")[-2], "the last frame says so"
    assert "[DONE]" not in heard
    for turn, ended in ((chat, interrupted), (run, lost)):
        assert (ended["state"], ended["code"]) == ("interrupted", "peer_outcome_unknown")
        assert ended["lanes"][0]["text"].startswith("[laptop] echo: ")
        assert (await turns.read(client, turn))[-1].name == "turn.interrupted"
    asked = [asked.text for asked in stage.model.turns("laptop", "default", mark)]
    assert len(asked) == 2, "neither was sent again"


async def _both_speak(client: httpx.AsyncClient, *begun: str) -> None:
    """Wait until both turns have said something."""

    async def speak() -> bool:
        texts = [(await turns.told(client, turn))["lanes"][0]["text"] for turn in begun]
        return all(len(text) > len("[nas/work] echo: ") for text in texts)

    await until(speak, seconds=BEGUN_SECONDS)
