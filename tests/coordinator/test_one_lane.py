"""One lane over loopback: client, coordinator, proxy, agent."""

import json
from typing import Any

import httpx
import openai
import pytest
from coordinator.stage import AGENT_KEY, PASSWORD, Stage, heard, plain_client, question, refusal
from switchboard_coordinator.surfaces.reply import QUIET_SECONDS
from waiting import until

TOOL = '!!tool=terminal:{"command":"echo x"} done'
ASKED = "!!repeat=4 how are you"


def normal(frames: list[bytes]) -> list[bytes]:
    """Frames with the parts that differ from one answer to the next blotted out."""
    found = []
    for frame in frames:
        head, mark, data = frame.partition(b"data: ")
        if data.startswith(b"{"):
            value = json.loads(data)
            for name in ("id", "created", "toolCallId"):
                if name in value:
                    data = data.replace(json.dumps(value[name]).encode(), b"0", 1)
        found.append(head + mark + data)
    return found


@pytest.mark.parametrize("text", [ASKED, TOOL, "!!fail=401 x"])
async def test_a_stream_is_what_the_agent_sends_byte_for_byte(stage: Stage, text: str) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    through = await stage.hear("default@nas", text)
    body = question("hermes-agent", text, stream=True)
    direct = plain_client(headers={"authorization": f"Bearer {AGENT_KEY}"})
    url = f"http://127.0.0.1:{agent.api_port}/p/default/v1/chat/completions"
    async with direct, direct.stream("POST", url, json=body) as answer:
        told = await heard(answer)
    assert normal(through.frames) == normal(told.frames)
    assert through.is_whole
    assert through.headers["content-type"].startswith("text/event-stream")


async def test_the_agent_gets_the_clients_request_with_nothing_but_the_model_replaced(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"))
    await stage.start()
    more = {"stream": True, "temperature": 1.5, "metadata": {"model": "nas"}, "switchboard": {"answers": "choices"}}
    await stage.hear("nas", "hi", temperature=1.5, metadata={"model": "nas"}, switchboard={"answers": "choices"})
    await stage.hear("work@nas", "hi")
    first, second = agent.turns
    assert first.body == question("hermes-agent", "hi", **more)
    assert (first.profile, second.profile) == ("default", "work")
    assert second.body["model"] == "work"


async def test_a_turn_goes_to_the_proxy_by_its_profile_always(stage: Stage) -> None:
    odd = await stage.odd("odd", refusal(503, b""))
    await stage.start()
    await stage.ask("odd", "hi")
    assert odd.paths == ["/p/default/v1/chat/completions"]


@pytest.mark.parametrize("stream", [{}, {"stream": False}])
async def test_a_client_that_does_not_stream_gets_the_json_that_the_agent_would_have_sent(
    stage: Stage, stream: dict[str, Any]
) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    answer = await stage.ask("default@nas", ASKED, **stream)
    assert answer.status_code == 200
    async with plain_client(headers={"authorization": f"Bearer {AGENT_KEY}"}) as direct:
        url = f"http://127.0.0.1:{agent.api_port}/v1/chat/completions"
        told = (await direct.post(url, json=question("hermes-agent", ASKED))).json()
    folded = answer.json()
    assert list(folded) == list(told)
    assert {**folded, "id": 0, "created": 0} == {**told, "id": 0, "created": 0}
    assert [turn.stream for turn in agent.turns] == [True, False], "only on a stream is a client's leaving noticed"


@pytest.mark.parametrize("stream", [True, False])
async def test_the_headers_say_who_answered(stage: Stage, stream: bool) -> None:
    await stage.machine("nas", profiles=("default", "work"))
    await stage.start()
    answer = await stage.ask("work@nas", "hi", stream=stream)
    assert answer.headers["x-switchboard-peer"] == "nas"
    assert answer.headers["x-switchboard-profile"] == "work"
    assert answer.headers["x-request-id"].startswith("req_")


async def test_a_clients_request_id_is_kept_and_reaches_the_agent(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    answer = await stage.ask("nas", "hi", headers={"x-request-id": "mine-7", "traceparent": "00-1-2-01"})
    assert answer.headers["x-request-id"] == "mine-7"
    assert agent.turns[0].headers["x-request-id"] == "mine-7"
    assert agent.turns[0].headers["traceparent"] == "00-1-2-01"
    other = await stage.ask("nas", "hi", headers={"x-request-id": "a" * 129})
    assert other.headers["x-request-id"].startswith("req_")


async def test_no_secret_crosses_a_hop(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    await stage.ask("nas", "hi", headers={"cookie": "a=b", "x-other": "c", "x-switchboard-x": "d"})
    seen = agent.turns[0].headers
    assert seen["authorization"] == f"Bearer {AGENT_KEY}"
    assert not seen.keys() & {"cookie", "x-other", "x-switchboard-x"}
    everything = str([request.headers for request in agent.requests])
    assert stage.key not in everything
    assert PASSWORD not in everything


async def test_a_session_is_the_consumers_own(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    mine = {"x-hermes-session-id": "s1", "x-hermes-session-key": "k1"}
    answer = await stage.ask("nas", "hi", headers=mine)
    assert agent.turns[0].headers["x-hermes-session-id"] == "me.s1"
    assert agent.turns[0].headers["x-hermes-session-key"] == "me.k1"
    assert {name: answer.headers[name] for name in mine} == mine
    without = await stage.ask("nas", "hi")
    assert "x-hermes-session-id" not in without.headers
    refused = await stage.ask("nas", "hi", headers={"x-hermes-session-id": "x" * 300})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "x-hermes-session-id"


async def test_comments_keep_the_line_warm_while_an_agent_is_silent(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard_coordinator.surfaces.openai.QUIET_SECONDS", 0.05)
    await stage.machine("nas")
    await stage.start()
    answer = await stage.hear("nas", "!!silence=0.6 late")
    comments = [frame for frame in answer.frames if frame == b": keepalive\n\n"]
    assert 2 <= len(comments) <= 30
    assert answer.text == "[nas] echo: late"
    assert answer.is_whole


def test_no_line_is_quiet_for_more_than_five_seconds() -> None:
    assert QUIET_SECONDS <= 5.0


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_interrupts_the_agent(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    body = question("nas", "!!delay=0.02 !!repeat=4000 tick", stream=stream)
    async with stage.client_of(stage.key) as client:
        request = client.build_request("POST", "/v1/chat/completions", json=body)
        if stream:
            answer = await client.send(request, stream=True)
            await anext(answer.aiter_bytes())
            await answer.aclose()
        else:
            with pytest.raises(httpx.ReadTimeout):
                await client.post("/v1/chat/completions", json=body, timeout=0.5)
    assert agent.turns[0].stream
    await until(lambda: agent.turns[0].state == "interrupted", seconds=5)


async def test_a_peer_runs_no_more_turns_at_once_than_it_may_and_the_next_one_waits(stage: Stage) -> None:
    agent = await stage.machine("nas", max_turns=1)
    await stage.start()
    async with stage.stream("nas", "!!delay=0.05 !!repeat=400 tick") as running:
        pieces = running.aiter_bytes()
        await anext(pieces)
        waiting = (await stage.begin("nas", "hi")).json()["id"]
        queued = await stage.turn(waiting)
        assert (queued["state"], queued["lanes"][0]["attempts"]) == ("queued", 0)
        assert len(agent.turns) == 1
    told = await stage.ended(waiting)
    assert (told["state"], told["lanes"][0]["text"]) == ("done", "[nas] echo: hi")
    await until(lambda: [turn.state for turn in agent.turns] == ["interrupted", "finished"], seconds=5)
    names = [event["event"] for event in await stage.events(waiting)]
    assert names[:3] == ["turn.accepted", "lane.queued", "lane.sent"]


MODES = ("any", "first", "all", "quorum", "council")


def client_of(stage: Stage) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    return openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key=stage.key, max_retries=0, http_client=http)


async def test_openais_own_sdk_works_unmodified(stage: Stage) -> None:
    await stage.machine("nas", capabilities=["home"])
    await stage.start()
    messages: Any = [{"role": "user", "content": ASKED}]
    said = "[nas] echo: how are you how are you how are you how are you"
    async with client_of(stage) as client:
        models = [model.id async for model in client.models.list()]
        groups = [f"{mode}@{group}" for group in ("fleet", "home") for mode in MODES]
        assert models[0] == "default@nas"
        assert sorted(models[1:]) == sorted(groups)
        assert (await client.models.retrieve("all@fleet")).id == "all@fleet"
        whole = await client.chat.completions.create(model="nas", messages=messages)
        assert whole.choices[0].message.content == said
        assert whole.usage is not None
        assert whole.usage.total_tokens > 0
        for model, expected in (("nas", said), ("all@home", f"### default@nas\n\n{said}")):
            text = ""
            async for chunk in await client.chat.completions.create(model=model, messages=messages, stream=True):
                text += chunk.choices[0].delta.content or ""
            assert text == expected
        both = await client.chat.completions.create(
            model="all@fleet", messages=messages, extra_body={"switchboard": {"answers": "choices"}}
        )
        assert both.choices[0].message.content == said


async def test_openais_own_sdk_raises_its_own_errors(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    messages: Any = [{"role": "user", "content": "!!die hello there"}]
    async with client_of(stage) as client:
        with pytest.raises(openai.NotFoundError, match="there is no peer"):
            await client.chat.completions.create(model="laptop", messages=messages)
        with pytest.raises(openai.APIError, match="broke off its answer"):
            async for _ in await client.chat.completions.create(model="nas", messages=messages, stream=True):
                pass
        with pytest.raises(openai.AuthenticationError):
            await client.with_options(api_key="sk-wrong").models.list()
