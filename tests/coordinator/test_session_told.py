"""What an agent is told of a session, over loopback: what it missed, once, of its own consumer, and nothing else."""

import json
from typing import Any

import pytest
from coordinator.keyring import give
from coordinator.stage import AGENT_KEY, Stage, plain_client, question
from switchboard_mock_agent.agent import MockAgent

SESSION = {"x-hermes-session-id": "tale"}
MOVE = {**SESSION, "x-switchboard-move": "yes"}
RUNS = {"x-switchboard-transport": "runs"}
BEGIN, END = "[This conversation went on elsewhere. What was said there:\n", "End of what was said there.]\n\n"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


async def two_machines(stage: Stage, **settings: Any) -> tuple[MockAgent, MockAgent]:
    agents = await stage.machine("nas"), await stage.machine("laptop")
    await stage.start(**settings)
    return agents


async def ask(stage: Stage, to: str, text: str, headers: dict[str, str] = MOVE, **more: Any) -> None:
    answer = await stage.ask(to, text, headers=headers, **more)
    assert answer.status_code == 200, answer.text


def note(*said: tuple[str, str]) -> str:
    """The mark, around what was asked and what this address answered."""
    told = "".join(f"user: {text}\nassistant: [{peer}] echo: {text}\n" for text, peer in said)
    return f"{BEGIN}{told}{END}"


def messages(agent: MockAgent, turn: int = -1) -> Any:
    """The messages of a chat request, as they reached the agent."""
    return agent.turns[turn].body["messages"]


def history(agent: MockAgent, turn: int = -1) -> list[tuple[str, str]]:
    """What the agent saw before a turn's own words."""
    return [(message["role"], message["content"]) for message in agent.turns[turn].history]


async def test_over_chat_the_new_address_is_told_before_the_users_words_and_once(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    await ask(stage, "nas", "two")
    await ask(stage, "laptop", "three")
    await ask(stage, "laptop", "four")
    assert [turn.text for turn in nas.turns] == ["one", "two"]
    assert [turn.text for turn in laptop.turns] == [note(("one", "nas"), ("two", "nas")) + "three", "four"]


async def test_who_comes_back_is_told_what_was_said_in_between(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    answers = {}
    for to, text in (("nas", "one"), ("laptop", "two"), ("laptop", "three"), ("nas", "four"), ("laptop", "five")):
        answer = await stage.ask(to, text, headers=MOVE)
        answers[text] = f"user: {text}\nassistant: {answer.json()['choices'][0]['message']['content']}\n"
    # What is told is what the user asked: the marks that went with it stay with the agent that they were for.
    assert nas.turns[-1].text == f"{BEGIN}{answers['two']}{answers['three']}{END}four"
    assert laptop.turns[-1].text == f"{BEGIN}{answers['four']}{END}five"


async def test_the_rest_of_a_moved_request_stays_as_the_client_wrote_it(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    before = [{"role": "system", "content": "be kind"}, {"role": "user", "content": "old"}]
    talk = [*before, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "two"}]
    body = {"model": "laptop", "temperature": 0.5, "messages": talk, "x-own": {"a": [1]}}
    assert (await stage.client.post("/v1/chat/completions", json=body, headers=MOVE)).status_code == 200
    (turn,) = laptop.turns
    assert turn.body == {
        **body,
        "model": "hermes-agent",
        "stream": True,
        "messages": [*talk[:-1], {"role": "user", "content": note(("one", "nas")) + "two"}],
    }


async def test_a_picture_is_still_there_after_a_move(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    parts = [{"type": "text", "text": "what is this?"}, PICTURE]
    body = {"model": "laptop", "messages": [{"role": "user", "content": parts}]}
    assert (await stage.client.post("/v1/chat/completions", json=body, headers=MOVE)).status_code == 200
    assert messages(laptop)[-1]["content"] == [{"type": "text", "text": note(("one", "nas"))}, *parts]


async def test_a_long_talk_is_told_whole_and_the_question_behind_it(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await ask(stage, "nas", "a" * 60_000)
    await ask(stage, "laptop", "the question")
    assert laptop.turns[-1].text.endswith("End of what was said there.]\n\n\nthe question")
    assert laptop.turns[-1].text.count("a" * 50_000) == 2, "asked, and answered"


async def test_after_a_turn_that_started_nowhere_the_next_one_is_told_the_same(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    laptop.gateway.is_draining = True
    assert (await stage.ask("laptop", "two", headers=MOVE)).status_code == 503
    laptop.gateway.is_draining = False
    await ask(stage, "laptop", "three")
    assert [turn.text for turn in laptop.turns] == [note(("one", "nas")) + "three"]


async def test_what_was_said_in_a_group_is_not_told_at_a_move(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    await ask(stage, "all@fleet", "together", SESSION)
    await ask(stage, "laptop", "two")
    assert [turn.text for turn in laptop.turns] == ["together", note(("one", "nas")) + "two"]


async def test_a_groups_run_is_given_what_its_own_agent_has_stored_and_nothing_of_others(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    await ask(stage, "all@fleet", "together", {**SESSION, **RUNS})
    assert history(nas) == [("user", "one"), ("assistant", "[nas] echo: one")]
    assert (laptop.turns[-1].text, history(laptop)) == ("together", [])


async def test_a_run_is_given_the_clients_history_where_it_has_one(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    talk = [{"role": "user", "content": "mine"}, {"role": "assistant", "content": "yes"}]
    body = {"model": "laptop", "messages": [*talk, {"role": "user", "content": "two"}]}
    assert (await stage.client.post("/v1/chat/completions", json=body, headers={**MOVE, **RUNS})).status_code == 200
    (turn,) = laptop.turns
    assert turn.body == {"input": "two", "conversation_history": talk, "session_id": "me.tale"}
    assert len(nas.turns) == 1


async def test_a_run_is_given_the_journals_history_at_home_and_after_a_move(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    await ask(stage, "nas", "one")
    await ask(stage, "nas", "two", {**SESSION, **RUNS})
    await ask(stage, "laptop", "three", {**MOVE, **RUNS})
    one = [("user", "one"), ("assistant", "[nas] echo: one")]
    assert history(nas) == one
    assert history(laptop) == [*one, ("user", "two"), ("assistant", "[nas] echo: two")]
    assert laptop.turns[-1].text == "three", "nothing is marked on runs"
    assert laptop.turns[-1].body["session_id"] == "me.tale"


@pytest.mark.parametrize("settings", [{}, {"journal": "off"}])
async def test_a_run_is_given_what_its_agent_has_stored_where_nothing_else_is_known(
    stage: Stage, settings: dict[str, str]
) -> None:
    nas, _ = await two_machines(stage, **settings)
    headers = {"authorization": f"Bearer {AGENT_KEY}", "x-hermes-session-id": "me.tale"}
    async with plain_client(base_url=f"http://127.0.0.1:{nas.api_port}", headers=headers) as client:
        tool = question("x", '!!tool=terminal:{"command": "true"} before us')
        assert (await client.post("/v1/chat/completions", json=tool)).status_code == 200
    await ask(stage, "nas", "one", {**SESSION, **RUNS})
    told = history(nas)
    assert [role for role, _ in told] == ["user", "assistant"], "what tools said is left out"
    assert told[1][1].endswith("echo: before us")


async def test_a_run_of_a_named_profile_is_given_nothing_of_the_default_ones_sessions(stage: Stage) -> None:
    nas = await stage.machine("nas", profiles=("default", "work"))
    await stage.start()
    headers = {"authorization": f"Bearer {AGENT_KEY}", "x-hermes-session-id": "me.tale"}
    async with plain_client(base_url=f"http://127.0.0.1:{nas.api_port}", headers=headers) as client:
        assert (await client.post("/v1/chat/completions", json=question("x", "secret"))).status_code == 200
    await ask(stage, "work@nas", "one", {**SESSION, **RUNS})
    assert (nas.turns[-1].profile, history(nas)) == ("work", [])


async def test_a_run_without_a_session_is_given_nothing(stage: Stage) -> None:
    nas, _ = await two_machines(stage)
    await ask(stage, "nas", "one", RUNS)
    await ask(stage, "nas", "two", RUNS)
    assert [turn.body for turn in nas.turns] == [{"input": "one"}, {"input": "two"}]


async def test_without_a_journal_a_move_tells_nothing_and_homes_stay(stage: Stage) -> None:
    _, laptop = await two_machines(stage, journal="off")
    await ask(stage, "nas", "one")
    assert (await stage.ask("laptop", "two", headers=SESSION)).status_code == 409
    await ask(stage, "laptop", "two")
    assert laptop.turns[-1].text == "two"


async def test_a_move_tells_of_a_turn_that_its_user_cancelled_what_was_said_of_it(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    async with stage.client.stream(
        "POST", "/v1/chat/completions", json=question("nas", "!!delay=0.05 one two three", stream=True), headers=SESSION
    ) as answer:
        turn = answer.headers["x-switchboard-turn"]
        async for piece in answer.aiter_raw():
            if b'"content"' in piece:
                break
    ended = await stage.ended(turn)
    assert ended["state"] == "cancelled"
    await ask(stage, "laptop", "four")
    said = ended["lanes"][0]["text"]
    assert f"user: !!delay=0.05 one two three\nassistant: {said}\n" in laptop.turns[-1].text


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_two_consumers_with_one_session_id_never_meet(stage: Stage, transport: str) -> None:
    you = give(stage, "you", "*")
    nas, laptop = await two_machines(stage)
    headers = {**MOVE, "x-switchboard-transport": transport}
    async with stage.client_of(you) as client:
        for n, to in enumerate(("nas", "nas", "laptop", "nas", "laptop")):
            await ask(stage, to, f"mine{n}", headers)
            answer = await client.post("/v1/chat/completions", json=question(to, f"yours{n}"), headers=headers)
            assert answer.status_code == 200
            assert answer.headers["x-hermes-session-id"] == "tale"
            assert "mine" not in answer.text
        mine = (await client.get("/api/turns", params={"session": "tale"})).json()["turns"]
        assert len(mine) == 5, "of nobody else"
    turns = nas.turns + laptop.turns
    assert len(turns) == 10
    for turn in turns:
        seen = json.dumps([turn.body, turn.history])
        own, other = ("mine", "yours") if turn.session == "me.tale" else ("yours", "mine")
        assert own in seen
        assert other not in seen, f"{turn.session} was told {seen}"


async def test_a_consumer_whose_name_begins_anothers_has_sessions_of_its_own(stage: Stage) -> None:
    keys = {name: give(stage, name, "*") for name in ("a", "a-b")}
    nas, _ = await two_machines(stage)
    for name, session in (("a", "-b.x"), ("a-b", "x"), ("a", "b.x")):
        async with stage.client_of(keys[name]) as client:
            headers = {"x-hermes-session-id": session}
            answer = await client.post("/v1/chat/completions", json=question("nas", "hi"), headers=headers)
            assert answer.headers["x-switchboard-affinity"] == "miss"
    assert len({turn.session for turn in nas.turns}) == 3
    assert all(not turn.history for turn in nas.turns)
