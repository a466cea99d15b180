"""How the mock's turns go on, end, and are interrupted: where it matters, as hermes-agent 0.19.0 was seen to do."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import httpx
import pytest
from agent_client import CHAT, body, client, text_of
from free_ports import port
from switchboard_mock_agent.agent import MockAgent
from waiting import until


async def test_an_answer_is_an_echo_with_the_names_of_agent_and_profile() -> None:
    async with MockAgent("nas", profiles=("default", "work"), multiplex=True) as agent, client(agent) as asking:
        for prefix, name in (("", "nas"), ("/p/default", "nas"), ("/p/work", "nas/work")):
            streamed = await asking.post(prefix + CHAT, json=body("!!repeat=2 hi"))
            whole = await asking.post(prefix + CHAT, json=body("!!repeat=2 hi", stream=False))
            told = whole.json()["choices"][0]["message"]["content"]
            assert text_of(streamed.text) == told == f"[{name}] echo: hi hi"
    assert [turn.profile for turn in agent.turns] == ["default"] * 4 + ["work"] * 2
    assert {turn.state for turn in agent.turns} == {"finished"}
    assert agent.turns[0].headers["authorization"] == f"Bearer {agent.key}"


async def test_without_multiplexing_any_prefix_is_the_default_profile() -> None:
    async with MockAgent(profiles=("default", "work")) as agent, client(agent) as asking:
        await asking.post("/p/work" + CHAT, json=body("hi"))
    assert [turn.profile for turn in agent.turns] == ["default"]


async def test_a_stream_whose_client_leaves_is_interrupted() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        async with asking.stream("POST", CHAT, json=body("!!delay=0.05 !!repeat=1000 tick")) as answer:
            await anext(answer.aiter_bytes())
        await until(lambda: agent.turns[0].state == "interrupted", seconds=5)


async def test_a_client_that_does_not_stream_leaves_unnoticed() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        with pytest.raises(httpx.ReadTimeout):
            await asking.post(CHAT, json=body("!!silence=0.6 hi", stream=False), timeout=0.1)
        await until(lambda: agent.turns[0].state == "finished", seconds=5)


async def test_a_turn_that_dies_ends_in_the_middle_of_its_text() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        seen = b""
        with pytest.raises(httpx.TransportError):
            async with asking.stream("POST", CHAT, json=body("!!die !!delay=0.01 the quick brown fox jumps")) as answer:
                async for piece in answer.aiter_bytes():
                    seen += piece
        assert text_of(seen.decode()) == "[nas] echo: the "
        assert b"[DONE]" not in seen
        with pytest.raises(httpx.TransportError):
            await asking.post(CHAT, json=body("!!die gone", stream=False))
    assert [turn.state for turn in agent.turns] == ["died", "died"]


async def test_a_gateway_that_stops_cuts_its_streams_without_their_end() -> None:
    async with client(agent := MockAgent()) as asking:
        await agent.__aenter__()
        asking.base_url = httpx.URL(f"http://127.0.0.1:{agent.api_port}")
        seen = b""
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            async with asking.stream("POST", CHAT, json=body("!!delay=0.02 !!repeat=1000 tick")) as answer:
                async for piece in answer.aiter_bytes():
                    if not seen:
                        stopping = asyncio.create_task(agent.__aexit__())
                    seen += piece
        await stopping
        assert b"[DONE]" not in seen
        assert agent.turns[0].state == "interrupted"
        with pytest.raises(httpx.ConnectError):
            await asking.get("/health")


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}])
async def test_a_gateway_that_stops_interrupts_who_waits_for_a_whole_answer(headers: dict[str, str]) -> None:
    async with MockAgent() as agent, client(agent) as asking:
        asked = asking.post(CHAT, json=body("!!silence=60 hi", stream=False), headers=headers)
        asking_it = asyncio.create_task(asked)
        await until(lambda: bool(agent.turns), seconds=5)
        assert agent.turns[0].ended_at is None
        await agent.__aexit__()
        with pytest.raises(httpx.RemoteProtocolError):
            await asking_it
    assert [turn.state for turn in agent.turns] == ["interrupted"]


@pytest.mark.parametrize("path", [CHAT, "/v1/runs", "/v1/responses"])
async def test_what_arrived_whole_is_executed_even_if_its_client_has_gone(path: str) -> None:
    async with MockAgent() as agent:
        content = json.dumps({**body("hi"), "input": "hi"})
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {agent.key}\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", agent.api_port)
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        writer.close()
        await until(lambda: bool(agent.turns) and agent.turns[0].ended_at is not None, seconds=5)
        assert len(agent.turns) == 1


async def test_what_did_not_arrive_whole_is_not_executed() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        content = json.dumps(body("hi"))
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {agent.key}\r\n"
        _, writer = await asyncio.open_connection("127.0.0.1", agent.api_port)
        writer.write(f"{head}Content-Length: {len(content)}\r\n\r\n{content[:-1]}".encode())
        writer.close()
        await until(lambda: bool(agent.requests), seconds=5)
        await asking.post(CHAT, json=body("after it"))
        assert [turn.text for turn in agent.turns] == ["after it"]


async def test_a_client_that_leaves_a_streamed_response_is_not_noticed_until_its_end() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        asked = {"input": "!!delay=0.02 !!repeat=30 tick", "stream": True}
        async with asking.stream("POST", "/v1/responses", json=asked) as answer:
            first = await anext(answer.aiter_text())
        await until(lambda: agent.turns[0].state == "finished", seconds=5)
        response = json.loads(first.partition("data: ")[2])["response"]["id"]
        told = (await asking.get(f"/v1/responses/{response}")).json()
    assert told["status"] == "incomplete"
    assert told["output"][0]["content"][0]["text"] == "[nas] echo: " + " ".join(["tick"] * 30)


async def test_a_tool_that_sleeps_is_silent_as_long() -> None:
    async with MockAgent(keepalive_seconds=0.05) as agent, client(agent) as asking:
        text = '!!tool=terminal:{"command": "sleep 0.22; echo x"} go'
        frames = (await asking.post(CHAT, json=body(text))).text.split("\n\n")
    assert [frame.startswith("event: hermes.tool.progress") for frame in frames].count(True) == 2
    begin, end = (number for number, frame in enumerate(frames) if frame.startswith("event: "))
    assert frames[begin + 1 : end] == [": keepalive"] * 4


async def test_of_many_turns_the_newest_are_kept() -> None:
    async with MockAgent(keep=2) as agent, client(agent) as asking:
        for number in range(7):
            await asking.post(CHAT, json=body(f"turn {number}"))
        assert [turn.text for turn in agent.turns][-2:] == ["turn 5", "turn 6"]
        assert len(agent.turns) <= 4
        assert agent.executed("turn 6") == agent.turns[-1:]
        for _ in range(5):
            await asking.post(CHAT, json=body("the same"), headers={"x-hermes-session-id": "s"})
        assert len((await asking.get("/api/sessions/s/messages")).json()["data"]) <= 4
        for number in range(3):
            await asking.post(CHAT, json=body("hi"), headers={"x-hermes-session-id": f"t{number}"})
        assert (await asking.get("/api/sessions/s/messages")).status_code == 404


async def test_a_degraded_agent_says_so_and_answers_all_the_same() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        agent.gateway.is_degraded = True
        told = await asking.get("/health/detailed")
        answer = await asking.post(CHAT, json=body("hi"))
    assert (told.status_code, told.json()["status"], told.json()["gateway_state"]) == (200, "degraded", "running")
    assert text_of(answer.text) == "[nas] echo: hi"


async def test_a_silent_turn_sends_comments() -> None:
    async with MockAgent(keepalive_seconds=0.05) as agent, client(agent) as asking:
        answer = await asking.post(CHAT, json=body("!!silence=0.22 hi"))
    assert answer.text.count(": keepalive\n\n") == 4
    assert text_of(answer.text) == "[nas] echo: hi"


async def test_turns_beyond_the_limit_are_refused_and_never_run() -> None:
    async with MockAgent(max_turns=1) as agent, client(agent) as asking:
        async with asking.stream("POST", CHAT, json=body("!!silence=60 hi")) as answer:
            assert answer.status_code == 200
            refused = await asking.post(CHAT, json=body("hi"))
        assert refused.status_code == 429
        assert len(agent.turns) == 1


async def test_the_dashboard_tells_what_ran() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        await asking.post(CHAT, json=body("!!fail=401 hi"), headers={"x-request-id": "r-1"})
        dashboard = f"http://127.0.0.1:{agent.dashboard_port}"
        told = (await asking.get(f"{dashboard}/mock/turns")).json()
        page = await asking.get(f"{dashboard}/any/page")
        unknown = await asking.get(f"{dashboard}/api/unknown")
    (turn,) = told["turns"]
    assert (turn["surface"], turn["profile"], turn["text"]) == ("chat", "default", "!!fail=401 hi")
    assert (turn["stream"], turn["state"], turn["request_id"]) == (True, "failed", "r-1")
    assert turn["started_at"] <= turn["ended_at"]
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert unknown.status_code == 404


async def test_the_command_serves_what_its_environment_says_until_it_is_told_to_stop(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef\n")
    ports = port("127.0.0.1"), port("127.0.0.1")
    settings = {"NAME": "tower", "KEY_FILE": str(key), "API_PORT": str(ports[0]), "DASHBOARD_PORT": str(ports[1])}
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("switchboard-mock-agent"),
        env={f"SWITCHBOARD_MOCK_AGENT_{name}": value for name, value in settings.items()},
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}", trust_env=False) as asking:

            async def answers() -> bool:
                try:
                    return (await asking.get("/health")).status_code == 200
                except httpx.TransportError:
                    return False

            await until(answers, seconds=20)
            headers = {"authorization": "Bearer 0123456789abcdef"}
            answer = await asking.post(CHAT, json=body("hi", stream=False), headers=headers)
            assert answer.json()["choices"][0]["message"]["content"] == "[tower] echo: hi"
    finally:
        process.send_signal(signal.SIGTERM)
        status = await process.wait()
    assert status == 1
