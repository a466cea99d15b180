import asyncio
import contextlib
from uuid import uuid4

import httpx
import pytest
from waiting import until

from real_agent.asking import ask, stream
from real_agent.model import Asked, Outcome
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOTICED_SECONDS = 20.0
LONG = "!!delay=0.1 !!repeat=100"  # twice NOTICED_SECONDS, were it heard to its end


async def test_a_client_that_leaves_a_stream_interrupts_the_agent(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex
    async with stream(client, "default@nas", f"{LONG} {mark}") as answer:
        async for line in answer.aiter_lines():
            if "content" in line:
                break
        (turn,) = stage.model.turns("nas", "default", mark)
        assert _outcomes([turn]) == ["running"]

    await until(lambda: _outcomes([turn]) != ["running"], seconds=NOTICED_SECONDS)
    assert _outcomes([turn]) == ["left"]


async def test_a_client_that_leaves_without_streaming_interrupts_the_agent_too(
    stage: Stage, client: httpx.AsyncClient
) -> None:
    """A real agent never notices that on its own: it is asked for a stream."""
    mark = uuid4().hex
    asking = asyncio.create_task(ask(client, "work@nas", f"{LONG} {mark}"))
    await until(lambda: bool(stage.model.turns("nas", "work", mark)), seconds=NOTICED_SECONDS)
    (turn,) = stage.model.turns("nas", "work", mark)
    assert _outcomes([turn]) == ["running"]

    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking

    await until(lambda: _outcomes([turn]) != ["running"], seconds=NOTICED_SECONDS)
    assert _outcomes([turn]) == ["left"]


async def test_a_client_that_leaves_a_group_interrupts_every_agent(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex
    async with stream(client, "all@fleet", f"{LONG} {mark}") as answer:
        assert answer.status_code == 200
        await until(lambda: len(_turns(stage, mark)) == 3, seconds=NOTICED_SECONDS)
        assert _outcomes(_turns(stage, mark)) == ["running"] * 3, "lanes run side by side"

    await until(lambda: "running" not in _outcomes(_turns(stage, mark)), seconds=NOTICED_SECONDS)
    assert _outcomes(_turns(stage, mark)) == ["left"] * 3


def _turns(stage: Stage, mark: str) -> list[Asked]:
    return [turn for turn in stage.model.asked if mark in turn.text]


def _outcomes(turns: list[Asked]) -> list[Outcome]:
    return [turn.outcome for turn in turns]
