"""What the model is told of what was said before, and under which session it is kept."""

import hashlib
import json
from typing import Any

import httpx
import pytest
from agent_client import CHAT, body, client
from switchboard_mock_agent.agent import MockAgent


async def heard(asking: httpx.AsyncClient, *earlier: tuple[str, str], session: str = "", path: str = CHAT) -> Any:
    """What the model says that it was told before."""
    headers = {"x-hermes-session-id": session} if session else {}
    answer = await asking.post(path, json=body("!!history what", *earlier, stream=False), headers=headers)
    return json.loads(answer.json()["choices"][0]["message"]["content"].partition("history: ")[2])


async def test_without_a_session_the_history_is_the_bodys() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        earlier = [("user", "one"), ("assistant", "two")]
        told = await heard(asking, ("system", "be brief"), *earlier, ("tool", "dropped"))
    assert told == [list(message) for message in earlier]
    (turn,) = agent.turns
    assert [(message["role"], message["content"]) for message in turn.history] == earlier
    assert turn.instructions == "be brief"


async def test_with_a_session_the_history_is_the_stored_one_and_the_bodys_is_ignored() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        await asking.post(CHAT, json=body("remember blue"), headers={"x-hermes-session-id": "s1"})
        told = await heard(asking, ("user", "remember red"), session="s1")
        assert told == [["user", "remember blue"], ["assistant", "[nas] echo: remember blue"]]
        assert await heard(asking, ("user", "remember red"), session="new to it") == []
    async with agent, client(agent) as asking:
        assert len(await heard(asking, session="s1")) == 4, "it outlives a restart"


async def test_each_profile_has_sessions_of_its_own() -> None:
    async with MockAgent(profiles=("default", "work"), multiplex=True) as agent, client(agent) as asking:
        await asking.post(CHAT, json=body("remember blue"), headers={"x-hermes-session-id": "s1"})
        assert await heard(asking, session="s1", path=f"/p/work{CHAT}") == []


async def test_what_a_failed_or_interrupted_turn_was_asked_stays_in_its_session() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        headers = {"x-hermes-session-id": "s1"}
        await asking.post(CHAT, json=body("!!fail=401 hi"), headers=headers)
        with pytest.raises(httpx.TransportError):
            await asking.post(CHAT, json=body("!!cut hi"), headers=headers)
        assert await heard(asking, session="s1") == [["user", "!!fail=401 hi"], ["user", "!!cut hi"]]
    assert [turn.state for turn in agent.turns] == ["failed", "interrupted", "finished"]


IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}


@pytest.mark.parametrize(
    ("content", "seed"),
    [
        ([{"type": "text", "text": "one"}, {"type": "input_text", "text": "two"}], "one\ntwo"),
        ([{"type": "text", "text": "see"}, IMAGE], str([{"type": "text", "text": "see"}, IMAGE])),
    ],
)
async def test_a_message_of_parts_makes_the_session_that_the_real_one_makes(content: list[Any], seed: str) -> None:
    async with MockAgent() as agent, client(agent) as asking:
        messages = [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}]
        asked = {"messages": [*messages, {"role": "user", "content": content}]}
        answer = await asking.post(CHAT, json=asked)
    session = "api-" + hashlib.sha256(f"a\nb\n{seed}".encode()).hexdigest()[:16]
    assert answer.headers["x-hermes-session-id"] == session == agent.turns[0].session


async def test_a_chain_of_responses_keeps_its_session_and_its_history() -> None:
    async with MockAgent() as agent, client(agent) as asking:
        first = await asking.post(
            "/v1/responses", json={"input": "one", "conversation": "c", "instructions": "be brief"}
        )
        again = await asking.post("/v1/responses", json={"input": "!!history", "conversation": "c"})
    assert first.headers["x-hermes-session-id"] == again.headers["x-hermes-session-id"]
    assert [message["content"] for message in agent.turns[1].history] == ["one", "[nas] echo: one"]
    assert agent.turns[1].instructions == "be brief"
