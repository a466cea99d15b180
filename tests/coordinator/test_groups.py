"""A group over loopback: many agents, one answer."""

import httpx
import pytest
from coordinator.stage import Stage, question, streaming
from waiting import until

HALF = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"half an ans"},"finish_reason":null}]}\n\n'
CHOICES = {"switchboard": {"answers": "choices"}}


async def three(stage: Stage) -> None:
    """nas and laptop are up, tower's proxy is not there."""
    await stage.machine("nas")
    await stage.machine("laptop")
    stage.peer("tower", 9)
    await stage.start()


NAS, LAPTOP = "### default@nas\n\n[nas] echo: ping", "### default@laptop\n\n[laptop] echo: ping"


def is_tower_down(text: str) -> bool:
    return text.startswith("### default@tower\n\n[failed: peer_unavailable] tower takes no connection")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_group_answers_in_sections_and_a_lane_that_fails_is_one_that_names_it(
    stage: Stage, stream: bool
) -> None:
    await three(stage)
    if stream:
        told = await stage.hear("all@fleet", "ping")
        text, last = told.text, told.chunks[-1]
        assert told.is_whole
        assert told.chunks[0]["switchboard"]["lanes"][2] == {"index": 2, "address": "default@tower"}
    else:
        answer = await stage.ask("all@fleet", "ping")
        last = answer.json()
        assert answer.status_code == 200
        assert len(last["choices"]) == 1
        text = last["choices"][0]["message"]["content"]
    sections = ["### " + part.strip() for part in text.split("### ") if part]
    assert sorted(sections)[:2] == [LAPTOP, NAS]
    assert is_tower_down(sorted(sections)[2])
    assert last["choices"][0]["finish_reason"] == "stop"
    lanes = last["switchboard"]["lanes"]
    assert [(lane["address"], lane["state"], lane["code"]) for lane in lanes] == [
        ("default@nas", "done", None),
        ("default@laptop", "done", None),
        ("default@tower", "failed", "peer_unavailable"),
    ]
    assert last["usage"]["total_tokens"] == sum(lane["usage"]["total_tokens"] for lane in lanes[:2]) > 0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_group_answers_in_choices_where_that_is_asked_for(stage: Stage, stream: bool) -> None:
    await three(stage)
    if stream:
        told = await stage.hear("all@fleet", "ping", **CHOICES)
        texts = [told.text_of(choice) for choice in range(3)]
        reasons = {
            choice["index"]: choice["finish_reason"]
            for chunk in told.chunks
            for choice in chunk.get("choices", ())
            if choice["finish_reason"]
        }
    else:
        choices = (await stage.ask("all@fleet", "ping", **CHOICES)).json()["choices"]
        texts = [choice["message"]["content"] for choice in choices]
        reasons = {choice["index"]: choice["finish_reason"] for choice in choices}
    assert texts[:2] == ["[nas] echo: ping", "[laptop] echo: ping"]
    assert texts[2].startswith("default@tower: [failed: peer_unavailable] tower takes no connection")
    assert reasons == {0: "stop", 1: "stop", 2: "error"}


async def test_tools_of_every_lane_are_told_with_its_address(stage: Stage) -> None:
    await three(stage)
    told = await stage.hear("all@fleet", '!!tool=terminal:{"command":"echo x"} done')
    tools = [chunk for chunk in told.chunks if "tool" in chunk]
    assert {tool["switchboard"]["address"] for tool in tools} == {"default@nas", "default@laptop"}
    assert len([tool for tool in tools if tool["status"] == "completed"]) == 2
    assert sum(frame.startswith(b"event: hermes.tool.progress\n") for frame in told.frames) == 4


async def test_a_lane_that_breaks_off_says_so_and_the_others_go_on(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.odd("odd", streaming(HALF))
    await stage.start()
    told = await stage.hear("all@fleet", "ping", **CHOICES)
    assert told.is_whole
    assert told.text_of(0) == "[nas] echo: ping"
    assert told.text_of(1).startswith(
        "half an ans\n\ndefault@odd: [interrupted: peer_outcome_unknown] default@odd ended its"
    )
    whole = (await stage.ask("all@fleet", "ping")).json()
    sections = whole["choices"][0]["message"]["content"].split("### ")
    assert any(
        part.startswith("default@odd\n\nhalf an ans\n\n[interrupted: peer_outcome_unknown]") for part in sections
    )
    assert [lane["state"] for lane in whole["switchboard"]["lanes"]] == ["done", "interrupted"]


@pytest.mark.parametrize("stream", [True, False])
async def test_the_turn_fails_only_when_every_lane_failed(stage: Stage, stream: bool) -> None:
    stage.peer("tower", 9)
    stage.peer("laptop", 10)
    await stage.start()
    answer = await stage.ask("all@fleet", "ping", stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (503, "peer_unavailable")
    assert answer.headers["x-switchboard-started"] == "no"
    assert "default@tower: tower takes no connection" in error["message"]
    assert "default@laptop: laptop takes no connection" in error["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_lanes_that_failed_in_different_ways_have_a_code_for_all(stage: Stage, stream: bool) -> None:
    stage.peer("tower", 9)
    odd = await stage.odd("odd", b"")
    await stage.start()
    answer = await stage.ask("all@fleet", "ping", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "every_lane_failed")
    assert answer.headers["x-switchboard-started"] == "unknown"
    assert odd.turns == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_turn_in_which_every_agent_failed_before_it_said_a_word_has_a_status(
    stage: Stage, stream: bool
) -> None:
    await stage.machine("nas")
    await stage.start()
    answer = await stage.ask("all@fleet", "!!fail=401 x", stream=stream)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (502, "peer_failed")
    assert "HTTP 401" in error["message"]


async def test_a_stream_in_which_every_agent_broke_off_ends_with_an_error_and_no_end_mark(stage: Stage) -> None:
    await stage.odd("odd", streaming(HALF))
    await stage.start()
    told = await stage.hear("all@fleet", "ping")
    assert told.status == 200
    assert not told.is_whole
    assert "half an ans" in told.text
    assert told.chunks[-1]["error"]["code"] == "peer_outcome_unknown"


async def test_comments_keep_the_line_warm_while_every_agent_is_silent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_coordinator.surfaces.openai.QUIET_SECONDS", 0.05)
    await stage.machine("nas")
    await stage.start()
    told = await stage.hear("all@fleet", "!!silence=0.5 late")
    assert told.frames.count(b": keepalive\n\n") >= 2
    assert told.is_whole


async def test_a_stream_begins_at_the_latest_when_nothing_was_heard_for_a_while(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_coordinator.surfaces.openai.QUIET_SECONDS", 0.05)
    await stage.odd("mute", is_mute=True)
    stage.peer("tower", 9)
    await stage.start()
    async with stage.stream("all@fleet", "hi") as answer:
        first = await anext(answer.aiter_bytes())
    assert answer.status_code == 200
    assert b'"address":"default@mute"' in first
    assert b"[failed: peer_unavailable]" in first


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_interrupts_every_lanes_agent(stage: Stage, stream: bool) -> None:
    agents = [await stage.machine(name) for name in ("nas", "laptop")]
    await stage.start()
    body = question("all@fleet", "!!delay=0.02 !!repeat=4000 tick", stream=stream)
    async with stage.client_of(stage.key) as client:
        if stream:
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                pieces = answer.aiter_bytes()
                await until(lambda: all(agent.turns for agent in agents), seconds=5)
                await anext(pieces)
        else:
            asking = client.post("/v1/chat/completions", json=body, timeout=0.5)
            with pytest.raises(httpx.ReadTimeout):
                await asking
    await until(lambda: all(agent.turns[0].state == "interrupted" for agent in agents), seconds=5)
