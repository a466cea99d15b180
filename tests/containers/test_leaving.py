"""A client that leaves in mid-turn: every agent is interrupted, whatever the client asked for."""

import asyncio

import httpx
import pytest
from waiting import until

from .asking import CHOICES, asked, question
from .machines import Fleet

MACHINES = {"nas": 2, "laptop": 1, "tower": 1}  # turns of a question to all@sound
LONG = "!!delay=0.2 !!repeat=300"
"""A minute: none of it is over when the client leaves."""
SECONDS = 30.0


def states(fleet: Fleet, text: str) -> dict[str, list[str]]:
    """The state of each agent's turns with this text."""
    return {name: [turn["state"] for turn in fleet.turns(name, text)] for name in MACHINES}


def everywhere(state: str) -> dict[str, list[str]]:
    return {name: [state] * count for name, count in MACHINES.items()}


@pytest.mark.parametrize("more", [{}, CHOICES], ids=["sections", "choices"])
async def test_every_agent_is_interrupted_when_the_client_of_a_stream_leaves(
    fleet: Fleet, more: dict[str, object], request: pytest.FixtureRequest
) -> None:
    text = f"streamed as {request.node.callspec.id}"
    async with asked(fleet, "all@sound", f"{LONG} {text}", **more) as heard:
        await heard.read(until=lambda heard: any(heard.texts.values()))
        await until(lambda: states(fleet, text) == everywhere("running"), seconds=SECONDS)
    await until(lambda: states(fleet, text) == everywhere("interrupted"), seconds=SECONDS)


async def test_every_agent_is_interrupted_when_the_client_of_a_whole_answer_leaves(fleet: Fleet) -> None:
    text = "not streamed"
    async with fleet.client() as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=question("all@sound", f"{LONG} {text}")))
        await until(lambda: states(fleet, text) == everywhere("running"), seconds=SECONDS)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await until(lambda: states(fleet, text) == everywhere("interrupted"), seconds=SECONDS)


async def test_one_agent_is_interrupted_when_its_only_client_leaves(fleet: Fleet) -> None:
    text = "alone, not streamed"
    async with fleet.client() as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(
                "/v1/chat/completions",
                json=question("work@nas", f"{LONG} {text}"),
                timeout=httpx.Timeout(10, read=2),
            )
    await until(
        lambda: [(turn["profile"], turn["state"]) for turn in fleet.turns("nas", text)] == [("work", "interrupted")],
        seconds=SECONDS,
    )
