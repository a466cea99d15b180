"""Runs: they go on whoever reads them, are read once, can be stopped, and ask before they do harm."""

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from agent_client import CHAT, body, client
from switchboard_mock_agent.agent import MockAgent
from waiting import until

SECONDS = 5.0


async def start(asking: httpx.AsyncClient, text: str, **more: Any) -> str:
    """A run; gives the path of its status."""
    answer = await asking.post("/v1/runs", json={"input": text, **more})
    assert (answer.status_code, answer.json()["status"]) == (202, "started")
    return f"/v1/runs/{answer.json()['run_id']}"


async def status(asking: httpx.AsyncClient, run: str) -> dict[str, Any]:
    told: dict[str, Any] = (await asking.get(run)).json()
    return told


async def is_in(asking: httpx.AsyncClient, run: str, state: str) -> bool:
    return bool((await status(asking, run))["status"] == state)


def events(stream: str) -> list[dict[str, Any]]:
    return [json.loads(frame[6:]) for frame in stream.split("\n\n") if frame.startswith("data: ")]


def said(stream: str) -> str:
    return "".join(event.get("delta", "") for event in events(stream))


async def test_a_run_tells_its_text_and_its_end_and_keeps_its_status() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        run = await start(asking, "!!repeat=3 hi", session_id="s1", instructions="be brief")
        stream = (await asking.get(f"{run}/events")).text
        told = await status(asking, run)
    assert said(stream) == "[nas] echo: hi hi hi" == told["output"]
    assert [event["event"] for event in events(stream)][-2:] == ["reasoning.available", "run.completed"]
    assert stream.endswith("\n\n: stream closed\n\n")
    assert (told["status"], told["session_id"], told["usage"]) == ("completed", "s1", events(stream)[-1]["usage"])
    (turn,) = agent.turns
    assert (turn.surface, turn.state, turn.run_id) == ("run", "finished", run.removeprefix("/v1/runs/"))
    assert (turn.session, turn.instructions) == ("s1", "be brief")


async def test_events_are_buffered_for_the_first_reader_and_there_is_no_second() -> None:
    async with MockAgent(subscribe_seconds=0.05) as agent, client(agent) as asking:
        run = await start(asking, "hi")
        await until(lambda: is_in(asking, run, "completed"), seconds=SECONDS)
        first = await asking.get(f"{run}/events")
        second = await asking.get(f"{run}/events")
    assert said(first.text) == "[nas] echo: hi"
    assert (second.status_code, second.json()["error"]["code"]) == (404, "run_not_found")


async def test_a_run_goes_on_when_its_reader_leaves_and_the_rest_of_its_events_is_lost() -> None:
    async with MockAgent(subscribe_seconds=0.05) as agent, client(agent) as asking:
        run = await start(asking, "!!delay=0.02 !!repeat=30 tick")
        async with asking.stream("GET", f"{run}/events") as stream:
            await anext(stream.aiter_bytes())
        await until(lambda: is_in(asking, run, "completed"), seconds=SECONDS)
        assert (await asking.get(f"{run}/events")).status_code == 404
        assert (await status(asking, run))["output"] == "[nas] echo: " + " ".join(["tick"] * 30)
    assert [turn.state for turn in agent.turns] == ["finished"]


@pytest.mark.parametrize(
    "words", ["!!silence=60", "!!delay=0.02 !!repeat=10000", '!!tool=terminal:{"command":"sleep 60"}']
)
async def test_a_run_is_stopped_at_once_and_its_record_says_when(words: str) -> None:
    async with MockAgent() as agent, client(agent) as asking:
        run = await start(asking, f"{words} tick")
        reading = asyncio.create_task(asking.get(f"{run}/events"))
        await until(lambda: is_in(asking, run, "running"), seconds=SECONDS)
        before = time.monotonic()
        stopped = await asking.post(f"{run}/stop")
        stream = await reading
        assert (stopped.status_code, stopped.json()["status"]) == (200, "stopping")
        assert (await status(asking, run))["status"] == "cancelled"
        assert (await asking.post(f"{run}/stop")).status_code == 404
    assert events(stream.text)[-1]["event"] == "run.cancelled"
    assert stream.text.endswith(": stream closed\n\n")
    (turn,) = agent.turns
    assert turn.state == "stopped"
    assert turn.ended_at is not None
    assert before < turn.ended_at < time.monotonic()


@pytest.mark.parametrize(("choice", "text"), [("once", "[nas] echo: go"), ("deny", "[nas] tool said: ")])
async def test_a_run_waits_until_a_person_allows_or_denies(choice: str, text: str) -> None:
    async with MockAgent() as agent, client(agent) as asking:
        run = await start(asking, "!!approve=make go")
        reading = asyncio.create_task(asking.get(f"{run}/events"))
        await until(lambda: is_in(asking, run, "waiting_for_approval"), seconds=SECONDS)
        answer = await asking.post(f"{run}/approval", json={"choice": choice})
        told = events((await reading).text)
        assert answer.json()["resolved"] == 1
        assert (await status(asking, run))["output"].startswith(text)
    names = ["tool.started", "approval.request", "approval.responded", "tool.completed"]
    assert [event["event"] for event in told][:4] == names
    assert (told[1]["command"], told[2]["choice"], told[3]["error"]) == ("make", choice, choice == "deny")


async def test_a_run_that_waits_for_an_approval_can_be_stopped() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        run = await start(asking, "!!approve=make go")
        await until(lambda: is_in(asking, run, "waiting_for_approval"), seconds=SECONDS)
        await asking.post(f"{run}/stop")
        late = await asking.post(f"{run}/approval", json={"choice": "once"})
        assert (late.status_code, late.json()["error"]["code"]) == (409, "approval_not_active")
    assert [turn.state for turn in agent.turns] == ["stopped"]


async def test_a_run_whose_provider_fails_says_so() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        run = await start(asking, "!!status=500 hi")
        told = events((await asking.get(f"{run}/events")).text)
        error = "HTTP 500: the model was told to fail"
        assert [(event["event"], event["error"]) for event in told] == [("run.failed", error)]
        assert (await status(asking, run))["error"] == error
    assert [turn.state for turn in agent.turns] == ["failed"]


async def test_a_cut_stream_of_events_leaves_the_run_to_finish() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        run = await start(asking, "!!cut !!delay=0.01 the quick brown fox")
        seen = b""
        with pytest.raises(httpx.TransportError):
            async with asking.stream("GET", f"{run}/events") as stream:
                async for piece in stream.aiter_bytes():
                    seen += piece
        assert said(seen.decode()) == "[nas] echo: the "
        await until(lambda: is_in(asking, run, "completed"), seconds=SECONDS)
        assert (await status(asking, run))["output"] == "[nas] echo: the quick brown fox"


async def test_a_run_that_dies_is_not_known_any_more() -> None:
    async with MockAgent(subscribe_seconds=0.05) as agent, client(agent) as asking:
        run = await start(asking, "!!die !!delay=0.01 the quick brown fox")
        with pytest.raises(httpx.TransportError):
            await asking.get(f"{run}/events")
        assert (await asking.get(run)).status_code == 404
    assert [turn.state for turn in agent.turns] == ["died"]


async def test_a_run_hears_the_history_it_is_sent_and_none_of_its_session() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        headers = {"x-hermes-session-id": "s1"}
        await asking.post(CHAT, json=body("remember blue", stream=False), headers=headers)
        for given in ([], [{"role": "user", "content": "remember red"}]):
            run = await start(asking, "!!history what", session_id="s1", conversation_history=given)
            await until(lambda run=run: is_in(asking, run, "completed"), seconds=SECONDS)  # type: ignore[misc]
            told = (await status(asking, run))["output"].partition("history: ")[2]
            assert json.loads(told) == [[entry["role"], entry["content"]] for entry in given]


async def test_a_restarted_agent_has_lost_its_runs_and_kept_its_record() -> None:
    agent = MockAgent(subscribe_seconds=0.05)
    async with agent, client(agent) as asking:
        run = await start(asking, "!!silence=60 hi")
    async with agent, client(agent) as asking:
        assert (await asking.get(run)).status_code == 404
    assert [turn.state for turn in agent.turns] == ["interrupted"]


async def test_an_accepted_run_may_be_answered_late_while_it_works() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        with pytest.raises(httpx.ReadTimeout):
            await asking.post("/v1/runs", json={"input": "!!hold=60 hi"}, timeout=0.1)
        await until(lambda: [turn.state for turn in agent.turns] == ["finished"], seconds=SECONDS)


async def test_a_silent_run_sends_comments() -> None:
    async with MockAgent(keepalive_seconds=0.05) as agent, client(agent) as asking:
        run = await start(asking, "!!silence=0.22 hi")
        stream = (await asking.get(f"{run}/events")).text
    assert ": keepalive\n\n" in stream
    assert said(stream) == "[nas] echo: hi"


async def test_runs_and_chats_share_one_limit() -> None:
    async with MockAgent(max_turns=1) as agent, client(agent) as asking:
        run = await start(asking, "!!silence=60 hi")
        assert (await asking.post(CHAT, json=body("hi"))).status_code == 429
        await asking.post(f"{run}/stop")
        assert (await asking.post(CHAT, json=body("hi"))).status_code == 200
    assert len(agent.turns) == 2
