"""One message to several machines, each of which may be well, down, slow, wrongly set up, or dying."""

import asyncio

import httpx

from .asking import CHOICES, asked, question
from .machines import Fleet

SOUND = {
    "default@nas": "[nas] echo: {}",
    "work@nas": "[nas/work] echo: {}",
    "default@laptop": "[laptop] echo: {}",
    "default@tower": "[tower] echo: {}",
}
SOON = 45.0
"""Far more than any of it takes, far less than for ever."""


def echoes(text: str, *addresses: str) -> dict[str, str]:
    """What these addresses (all sound ones) say to a text."""
    return {address: SOUND[address].format(text) for address in addresses or SOUND}


async def test_every_machine_answers_under_its_address_in_a_choice_of_its_own(fleet: Fleet) -> None:
    async with asked(fleet, "all@sound", "ping", **CHOICES) as heard:
        await heard.read()
    assert heard.texts == echoes("ping")
    assert set(heard.finishes.values()) == {"stop"}
    assert heard.is_done


async def test_every_machine_answers_in_a_section_of_one_text(fleet: Fleet) -> None:
    async with fleet.client() as client:
        answer = await client.post("/v1/chat/completions", json=question("all@sound", "ping"))
    assert answer.status_code == 200, answer.text
    sections = answer.json()["choices"][0]["message"]["content"].strip().split("### ")[1:]
    assert {section.split("\n")[0]: section.split("\n", 1)[1].strip() for section in sections} == echoes("ping")


async def test_a_turn_for_a_profile_runs_as_that_profile_and_no_other(fleet: Fleet) -> None:
    async with fleet.client() as client:
        answer = await client.post("/v1/chat/completions", json=question("work@nas", "whose turn is this?"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-switchboard-peer"] == "nas"
    assert answer.headers["x-switchboard-profile"] == "work"
    assert [turn["profile"] for turn in fleet.turns("nas", "whose turn is this?")] == ["work"]


async def test_one_machine_that_is_down_is_told_by_name_and_the_others_answer(fleet: Fleet) -> None:
    async with fleet.without_proxy("tower"), asked(fleet, "all@sound", "ping", **CHOICES) as heard:
        await heard.read()
    assert heard.lanes["default@tower"]["code"] == "peer_unavailable"
    assert "tower" in heard.lanes["default@tower"]["message"]
    assert heard.finishes.pop("default@tower") == "error"
    assert set(heard.finishes.values()) == {"stop"}
    assert echoes("ping", "default@nas", "work@nas", "default@laptop").items() <= heard.texts.items()
    assert heard.is_done


async def test_a_slow_agent_holds_nobody_up_and_is_waited_for(fleet: Fleet) -> None:
    async with (
        asyncio.timeout(SOON),
        fleet.paused("tower", whole=False),
        asked(fleet, "all@sound", "take your time", **CHOICES) as heard,
    ):
        await heard.read(until=lambda heard: len(heard.finishes) == 3)
        assert "default@tower" not in heard.finishes
        fleet.resume("tower")
        await heard.read()
    assert heard.texts == echoes("take your time")


async def test_silence_of_every_agent_is_no_failure(fleet: Fleet) -> None:
    async with asked(fleet, "all@sound", "!!silence=3 patience", **CHOICES) as heard:
        await heard.read()
    assert heard.texts == echoes("patience")


async def test_a_machine_that_stands_still_does_not_delay_the_others(fleet: Fleet) -> None:
    async with (
        asyncio.timeout(SOON),
        fleet.paused("tower", whole=True),
        asked(fleet, "all@sound", "still there?", **CHOICES) as heard,
    ):
        await heard.read(until=lambda heard: len(heard.finishes) == 3)
        assert echoes("still there?", "default@nas", "work@nas", "default@laptop").items() <= heard.texts.items()
        async with fleet.client() as client:
            answer = await client.post("/v1/chat/completions", json=question("laptop", "and alone?"))
            assert answer.status_code == 200
            assert (await client.get("/v1/models")).status_code == 200


async def test_a_wrong_password_of_a_proxy_fails_its_lane_alone_and_says_which_secret(fleet: Fleet) -> None:
    async with asked(fleet, "all@attic-too", "ping", **CHOICES) as heard:
        await heard.read()
    failed = heard.lanes["default@attic"]
    assert failed["code"] == "peer_unauthorized"
    assert "password" in failed["message"]
    assert "attic" in failed["message"]
    assert heard.texts["default@nas"] == "[nas] echo: ping"
    assert (await fleet.states())["attic"] == "unauthorized"
    assert heard.is_done


async def test_a_wrong_key_of_an_agent_fails_its_lane_alone_and_says_which_secret(fleet: Fleet) -> None:
    async with asked(fleet, "all@cellar-too", "ping", **CHOICES) as heard:
        await heard.read()
    failed = heard.lanes["default@cellar"]
    assert failed["code"] == "peer_unauthorized"
    assert "API_SERVER_KEY" in failed["message"]
    assert "cellar" in failed["message"]
    assert heard.texts["default@nas"] == "[nas] echo: ping"
    assert (await fleet.states())["cellar"] == "unauthorized"
    assert heard.is_done


async def test_when_every_lane_fails_the_turn_fails_and_names_them(fleet: Fleet) -> None:
    async with fleet.client() as client:
        answer = await client.post("/v1/chat/completions", json=question("attic", "ping"))
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "peer_unauthorized"
    assert "attic" in answer.json()["error"]["message"]


async def test_an_agent_that_dies_in_mid_stream_ends_its_stream_with_an_error_and_no_end_mark(fleet: Fleet) -> None:
    async with asked(fleet, "default@nas", "!!delay=0.05 !!die one two three four five six") as heard:
        await heard.read()
    (text,) = heard.texts.values()
    assert text.startswith("[nas] echo: one")
    assert not text.endswith("six")
    assert heard.error is not None
    assert heard.error["code"] == "peer_outcome_unknown"
    assert "nas" in heard.error["message"]
    assert not heard.is_done


async def test_an_answer_that_broke_off_is_never_given_as_whole(fleet: Fleet) -> None:
    async with fleet.client() as client:
        answer = await client.post("/v1/chat/completions", json=question("nas", "!!die one two three four five six"))
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "peer_outcome_unknown"
    assert answer.headers["x-switchboard-started"] == "unknown"


async def test_a_machine_that_is_killed_in_mid_stream_fails_its_lane_and_the_others_end_well(fleet: Fleet) -> None:
    text = "!!delay=0.1 !!repeat=30 on"
    async with fleet.mortal("tower") as tower, asked(fleet, "all@sound", text, **CHOICES) as heard:
        await heard.read(until=lambda heard: len([text for text in heard.texts.values() if text]) == 4)
        for container in tower.containers:
            container.kill()
        await heard.read()
    assert heard.lanes["default@tower"]["code"] == "peer_outcome_unknown"
    assert heard.finishes.pop("default@tower") == "error"
    assert set(heard.finishes.values()) == {"stop"}
    assert len(heard.finishes) == 3
    assert heard.texts["default@laptop"].count("on") == 30
    assert heard.is_done


async def test_a_consumer_without_a_good_key_reaches_nobody(fleet: Fleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.url, trust_env=False, timeout=10) as client:
        for headers in ({}, {"authorization": "Bearer sk-switchboard-not-a-key"}):
            answer = await client.post("/v1/chat/completions", json=question("all@sound", "let me in"), headers=headers)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
    assert not [turn for name in ("nas", "laptop", "tower") for turn in fleet.turns(name, "let me in")]
