"""`POST /v1/responses` through the coordinator: one agent's, passed through."""

import asyncio
import json
from typing import Any

import openai
import pytest
from coordinator.keyring import give
from coordinator.stage import AGENT_KEY, Stage, plain_client, refusal, streaming
from structlog.testing import capture_logs
from waiting import until

URL = "/v1/responses"
SOON_SECONDS = 5.0
TOOL = '!!tool=terminal:{"command":"echo x"} done'
LONG = "!!delay=0.05 !!repeat=4000 tick"


def asking(text: str = "hello", model: str = "nas", **more: Any) -> dict[str, Any]:
    return {"model": model, "input": text, **more}


def events(body: bytes) -> list[list[Any]]:
    """Name and data of each event; comments are left out."""
    found = []
    for frame in body.decode().split("\n\n"):
        name, _, data = frame.partition("\n")
        if name.startswith("event: "):
            found.append([name.removeprefix("event: "), json.loads(data.removeprefix("data: "))])
    return found


def normal(value: Any) -> Any:
    """The same without what differs from one response to the next."""
    if isinstance(value, dict):
        volatile = ("id", "created_at", "call_id", "item_id")
        return {name: 0 if name in volatile else normal(entry) for name, entry in value.items()}
    return [normal(entry) for entry in value] if isinstance(value, list) else value


async def test_an_openai_client_gets_responses_whole_and_streaming_and_chains_them(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"))
    await stage.start()
    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    url = f"{stage.url}/v1"
    async with openai.AsyncOpenAI(api_key=stage.key, base_url=url, http_client=http, max_retries=0) as sdk:
        whole = await sdk.responses.create(model="work@nas", input="hello")
        assert whole.output_text == "[nas/work] echo: hello"
        chained = await sdk.responses.create(model="work@nas", input="more", previous_response_id=whole.id)
        stream = await sdk.responses.create(model="work@nas", input="hello", stream=True)
        told = [event async for event in stream]
        assert (told[0].type, told[-1].type) == ("response.created", "response.completed")
        assert "".join(event.delta for event in told if event.type == "response.output_text.delta") == whole.output_text
    first, second, third = agent.turns
    assert chained.id != whole.id
    assert second.session == first.session != third.session
    assert [turn.profile for turn in agent.turns] == ["work"] * 3
    assert first.body == {"model": "work", "stream": True, "input": "hello"}


@pytest.mark.parametrize("text", ["hello", TOOL, "!!fail=401 x"])
async def test_a_stream_is_what_the_agent_sends(stage: Stage, text: str) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    through = await stage.client.post(URL, json=asking(text, stream=True))
    async with plain_client(headers={"authorization": f"Bearer {AGENT_KEY}"}) as direct:
        body = asking(text, "hermes-agent", stream=True)
        told = await direct.post(f"http://127.0.0.1:{agent.api_port}{URL}", json=body)
    assert normal(events(through.content)) == normal(events(told.content))
    assert through.headers["content-type"].startswith("text/event-stream")
    assert (through.headers["x-switchboard-peer"], through.headers["x-switchboard-profile"]) == ("nas", "default")
    assert agent.turns[0].body == agent.turns[1].body


async def test_a_whole_response_is_what_the_agents_stream_ends_with(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    through = await stage.client.post(URL, json=asking("hello"))
    async with plain_client(headers={"authorization": f"Bearer {AGENT_KEY}"}) as direct:
        told = await direct.post(f"http://127.0.0.1:{agent.api_port}{URL}", json=asking("hello", "hermes-agent"))
    assert list(through.json()) == list(told.json())
    assert normal(through.json()) == normal(told.json())
    assert [turn.stream for turn in agent.turns] == [True, False], "on a stream alone can an agent notice a leaving"


async def test_what_is_no_response_of_one_agent_is_refused(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    for body, param in (
        (asking(model="all@fleet"), "model"),
        ({"input": "x"}, "model"),
        ({"model": "nas"}, "input"),
        (asking(""), "input"),
        ({"model": "nas", "input": {"text": "x"}}, "input"),
        (asking(conversation={"id": "conv_1"}), "conversation"),
        (asking(conversation=""), "conversation"),
        (asking(previous_response_id=["resp_1"]), "previous_response_id"),
    ):
        answer = await stage.client.post(URL, json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", param)
    for content in (b"", b"[]", b"{", b"\xff", b'{"model":"nas","model":"nas","input":"x"}', b"[" * 100_000):
        answer = await stage.client.post(URL, content=content)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_request")
    unknown = await stage.client.post(URL, json=asking(model="tower"))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")
    assert agent.turns == []


@pytest.mark.parametrize(
    "header",
    [("idempotency-key", "k"), ("x-switchboard-on-disconnect", "detach"), ("x-switchboard-transport", "runs")],
)
async def test_what_only_a_turn_has_is_refused_with_a_sentence(stage: Stage, header: tuple[str, str]) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    answer = await stage.client.post(URL, json=asking(), headers=dict([header]))
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", header[0])
    assert "is no turn of ours" in error["message"]
    assert agent.turns == []


async def test_a_header_names_who_is_asked_in_place_of_the_model(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    headers = {"x-switchboard-to": "default@nas", "x-switchboard-on-disconnect": "cancel"}
    for body in ({"input": "one"}, {"model": "gpt-5", "input": "two"}):
        assert (await stage.client.post(URL, json=body, headers=headers)).status_code == 200
    assert [turn.body for turn in agent.turns] == [
        {"model": "hermes-agent", "stream": True, "input": "one"},
        {"stream": True, "model": "hermes-agent", "input": "two"},
    ]


async def test_consumers_never_meet_in_a_conversation_or_a_memory(stage: Stage) -> None:
    agent = await stage.machine("nas")
    you = give(stage, "you", "default@nas")
    await stage.start()
    async with stage.client_of(you) as client:
        for asker, text in ((stage.client, "mine"), (client, "yours"), (stage.client, "more")):
            body = asking(text, conversation="proj")
            answer = await asker.post(URL, json=body, headers={"x-hermes-session-key": "memory"})
            assert answer.headers["x-hermes-session-key"] == "memory"
            assert "x-hermes-session-id" not in answer.headers, "one that the agent made up"
    mine, yours, more = agent.turns
    assert [turn.body["conversation"] for turn in agent.turns] == ["me.proj", "you.proj", "me.proj"]
    assert [turn.headers["x-hermes-session-key"] for turn in (mine, yours)] == ["me.memory", "you.memory"]
    assert (yours.history, [entry["content"] for entry in more.history]) == ([], ["mine", "[nas] echo: mine"])


async def test_a_key_needs_the_scope_of_the_address_and_its_rate_counts(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.machine("laptop")
    you = give(stage, "you", "default@nas", turns_per_minute=1)
    await stage.start()
    async with stage.client_of(you) as client:
        refused = await client.post(URL, json=asking(model="laptop"))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_scope")
        assert (await client.post(URL, json=asking())).status_code == 200
        many = await client.post(URL, json=asking())
        assert (many.status_code, many.json()["error"]["code"]) == (429, "rate_limit_exceeded")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_client_that_leaves_closes_the_agents_stream(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas", max_turns=1)
    await stage.start()
    with capture_logs() as lines:
        asked = asyncio.create_task(stage.client.post(URL, json=asking(LONG, stream=stream)))
        await until(lambda: len(agent.turns) == 1, seconds=SOON_SECONDS)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await until(lambda: any(line.get("path") == URL for line in lines), seconds=SOON_SECONDS)

    async def is_free() -> bool:
        return bool((await stage.peers())["nas"]["turns"]["running"] == 0)

    await until(is_free, seconds=SOON_SECONDS)
    (line,) = [line for line in lines if line.get("path") == URL]
    assert (line["model"], line["outcome"]) == ("nas", "client_left")
    assert len(agent.turns) == 1


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_response_waits_for_a_place_and_an_agents_429_does_not_reach_the_client(
    stage: Stage, stream: bool
) -> None:
    agent = await stage.machine("nas", agent_turns=1, max_turns=2)
    await stage.start()
    async with plain_client(headers={"authorization": f"Bearer {AGENT_KEY}"}) as direct:
        url = f"http://127.0.0.1:{agent.api_port}{URL}"
        another = asyncio.create_task(direct.post(url, json={"input": "!!silence=0.3 another"}))
        await until(lambda: len(agent.turns) == 1, seconds=SOON_SECONDS)
        answer = await stage.client.post(URL, json=asking("hello", stream=stream))
        await another
    assert answer.status_code == 200
    assert "[nas] echo: hello" in answer.text
    assert [turn.text for turn in agent.turns] == ["!!silence=0.3 another", "hello"]


async def test_a_stream_is_kept_warm_while_its_agent_is_silent(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard_coordinator.surfaces.responses.QUIET_SECONDS", 0.05)
    await stage.machine("nas")
    await stage.start()
    answer = await stage.client.post(URL, json=asking("!!hold=0.5 hello", stream=True))
    assert answer.content.startswith(b": keepalive\n\n")
    assert events(answer.content)[-1][0] == "response.completed"


async def test_a_deadline_ends_it(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    headers = {"x-switchboard-deadline-ms": "100"}
    answer = await stage.client.post(URL, json=asking(LONG), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    streamed = await stage.client.post(URL, json=asking(LONG, stream=True), headers=headers)
    assert streamed.status_code == 200
    assert b'"code":"deadline_exceeded"' in streamed.content.split(b"\n\n")[-2]


FAILED = (
    b'event: response.failed\ndata: {"type":"response.failed","response":{"id":"resp_1","status":"failed",'
    b'"error":{"message":"no model today","type":"server_error"}}}\n\n'
)
CREATED = b'event: response.created\ndata: {"type":"response.created","response":{"id":"resp_1"}}\n\n'


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        ((CREATED, FAILED), (502, "peer_failed", "yes")),
        ((CREATED,), (502, "peer_outcome_unknown", "unknown")),
        ((CREATED, b"event: response.completed\ndata: {\n\n"), (502, "peer_outcome_unknown", "unknown")),
    ],
    ids=["failed", "no end", "no JSON"],
)
async def test_an_end_that_is_none_or_a_failure(
    stage: Stage, frames: tuple[bytes, ...], kind: tuple[int, str, str], stream: bool
) -> None:
    odd = await stage.odd("nas", streaming(*frames))
    await stage.start()
    answer = await stage.client.post(URL, json=asking(stream=stream))
    assert odd.turns == 1
    if not stream:
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], answer.headers["x-switchboard-started"]) == kind
    elif frames[-1] == FAILED:
        assert answer.content == CREATED + FAILED, "what the agent itself reports passes as it is"
    else:
        assert answer.content.startswith(b"".join(frames))
        assert json.loads(answer.content.removeprefix(b"".join(frames))[6:])["error"]["code"] == kind[1]
    turn = (await stage.peers())["nas"]["profiles"][0]["levels"]["turn"]
    assert turn["outcome"] in ("failed", "interrupted")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusal(404, b'{"error":{"message":"Previous response not found: r"}}'), (404, "invalid_request", "no")),
        (refusal(503, b"{}"), (503, "peer_unavailable", "no")),
        (refusal(200, b"{}", b"Content-Type: application/json"), (502, "peer_bad_response", "unknown")),
        (b"", (502, "peer_outcome_unknown", "unknown")),
    ],
)
async def test_an_agent_that_does_not_take_it_is_told_as_everywhere(
    stage: Stage, answer: bytes, kind: tuple[int, str, str]
) -> None:
    odd = await stage.odd("nas", answer)
    await stage.start()
    told = await stage.client.post(URL, json=asking())
    assert (told.status_code, told.json()["error"]["code"], told.headers["x-switchboard-started"]) == kind
    assert odd.turns == 1
