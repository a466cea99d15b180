from typing import Any
from uuid import uuid4

import httpx
import pytest

from real_agent.asking import ask, hear
from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")

ANSWERS = {"default@nas": "[nas] echo: ", "work@nas": "[nas/work] echo: ", "default@laptop": "[laptop] echo: "}
CHOICES = {"answers": "choices"}


async def test_everyone_is_asked_once_and_answers_in_a_section(stage: Stage, client: httpx.AsyncClient) -> None:
    mark = uuid4().hex

    heard = await hear(client, "all@fleet", mark)

    assert _sections(heard.text()) == {address: answer + mark for address, answer in ANSWERS.items()}
    assert heard.is_whole
    assert _states(heard.chunks[-1]) == dict.fromkeys(ANSWERS, "done")
    asked = [(turn.peer, turn.profile) for turn in stage.model.asked if mark in turn.text]
    assert sorted(asked) == [("laptop", "default"), ("nas", "default"), ("nas", "work")]


async def test_everyone_answers_in_a_choice_of_its_own(client: httpx.AsyncClient) -> None:
    heard = await hear(client, "all@fleet", "ping", switchboard=CHOICES)

    lanes = {lane["address"]: lane["index"] for lane in heard.chunks[0]["switchboard"]["lanes"]}
    assert {address: heard.text(index) for address, index in lanes.items()} == {
        address: f"{answer}ping" for address, answer in ANSWERS.items()
    }
    assert heard.is_whole
    assert _states(heard.chunks[-1]) == dict.fromkeys(ANSWERS, "done")


@pytest.mark.parametrize("more", [{}, {"switchboard": CHOICES}])
async def test_a_group_answers_whole(client: httpx.AsyncClient, more: dict[str, Any]) -> None:
    answer = (await ask(client, "all@fleet", "ping", **more)).json()

    texts = [choice["message"]["content"] for choice in answer["choices"]]
    lanes = [lane["address"] for lane in answer["switchboard"]["lanes"]]
    found = dict(zip(lanes, texts, strict=True)) if more else _sections(texts[0])
    assert found == {address: f"{text}ping" for address, text in ANSWERS.items()}
    assert answer["usage"]["total_tokens"] == sum(
        lane["usage"]["total_tokens"] for lane in answer["switchboard"]["lanes"]
    )


async def test_a_capability_asks_only_those_that_have_it(client: httpx.AsyncClient) -> None:
    assert set(_sections((await hear(client, "all@code", "ping")).text())) == {"work@nas", "default@laptop"}


def _sections(text: str) -> dict[str, str]:
    """Address to text."""
    found = (section.partition("\n\n") for section in text.split("### ")[1:])
    return {address: answer.strip() for address, _, answer in found}


def _states(chunk: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, str]:
    return {lane["address"]: lane["state"] for lane in chunk["switchboard"]["lanes"]}
