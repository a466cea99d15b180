"""Sessions over loopback: homes, moves, who is asked, and what stays where it was."""

import asyncio
from typing import Any

import httpx
import pytest
from coordinator.keyring import give
from coordinator.stage import WAIT_SECONDS, Stage, question
from switchboard_mock_agent.agent import MockAgent
from waiting import until

SESSION = {"x-hermes-session-id": "tale"}
MOVE = {**SESSION, "x-switchboard-move": "yes"}
NOBODY, NOBODY_EITHER = 9, 10  # ports of loopback where nothing listens


async def two_machines(stage: Stage, **settings: Any) -> tuple[MockAgent, MockAgent]:
    agents = await stage.machine("nas"), await stage.machine("laptop")
    await stage.start(**settings)
    return agents


def affinity(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["x-switchboard-affinity"]


async def test_a_session_stays_at_the_address_of_its_first_turn_and_nobody_else_is_asked(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    assert affinity(await stage.ask("nas", "one", headers=SESSION)) == "miss"
    assert affinity(await stage.ask("nas", "two", headers=SESSION)) == "hit"

    whole = await stage.ask("laptop", "three", headers=SESSION)
    streamed = await stage.ask("laptop", "three", headers=SESSION, stream=True)
    turn = await stage.begin("laptop", "three", session="tale")
    for answer in (whole, streamed):
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "session_peer_mismatch"
        assert answer.json()["error"]["param"] == "x-hermes-session-id"
        assert "default@nas" in answer.json()["error"]["message"]
        assert answer.headers["x-switchboard-started"] == "no"
    assert (turn.status_code, turn.json()["code"]) == (409, "session_peer_mismatch")
    assert not laptop.turns
    assert [(turn.text, turn.session) for turn in nas.turns] == [("one", "me.tale"), ("two", "me.tale")]
    assert len((await stage.client.get("/api/turns")).json()["turns"]) == 2, "no turn was opened"


async def test_how_a_turn_stood_to_its_session_is_told_by_header_streamed_or_not(stage: Stage) -> None:
    await two_machines(stage)
    told = [affinity(await stage.ask("nas", "one"))]
    for to, headers in (("nas", SESSION), ("nas", SESSION), ("laptop", MOVE), ("laptop", MOVE)):
        told.append(affinity(await stage.ask(to, "one", headers=headers, stream=len(told) % 2 == 0)))
    told.append(affinity(await stage.ask("nas", "one", headers={**MOVE, "x-switchboard-transport": "runs"})))
    assert told == ["off", "miss", "hit", "moved", "hit", "moved"]


async def test_a_move_is_said_by_header_or_followed_by_key_and_stands_in_the_audit_log(stage: Stage) -> None:
    roamer, boss = give(stage, "roamer", "*", moves="follow"), give(stage, "boss", "admin")
    _, laptop = await two_machines(stage)
    async with stage.client_of(roamer) as client:
        for to in ("nas", "laptop"):
            answer = await client.post("/v1/chat/completions", json=question(to, "hi"), headers=SESSION)
        assert affinity(answer) == "moved"
    await stage.ask("nas", "hi", headers=SESSION)
    assert affinity(await stage.ask("laptop", "hi", headers=MOVE)) == "moved"
    assert [turn.session for turn in laptop.turns] == ["roamer.tale", "me.tale"]

    async with stage.client_of(boss) as client:

        async def moves() -> list[tuple[str, str]]:
            entries = (await client.get("/api/audit")).json()["entries"]
            return [(each["actor"], each["subject"]) for each in entries if each["action"] == "session.move"]

        async def are_noted() -> bool:
            return len(await moves()) == 2

        await until(are_noted, seconds=WAIT_SECONDS)
        assert sorted(await moves()) == [("me", "tale to default@laptop"), ("roamer", "tale to default@laptop")]


async def test_no_is_no_move(stage: Stage) -> None:
    await two_machines(stage)
    await stage.ask("nas", "one", headers=SESSION)
    answer = await stage.ask("laptop", "two", headers={**SESSION, "x-switchboard-move": "no"})
    assert answer.status_code == 409


@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_a_move_to_where_nothing_started_is_none(stage: Stage, transport: str) -> None:
    stage.peer("laptop", NOBODY)
    nas = await stage.machine("nas")
    await stage.start()
    headers = {**MOVE, "x-switchboard-transport": transport}
    await stage.ask("nas", "one", headers=SESSION)
    moved = await stage.ask("laptop", "two", headers=headers)
    assert (moved.status_code, moved.headers["x-switchboard-started"]) == (503, "no")
    assert affinity(await stage.ask("nas", "three", headers=SESSION)) == "hit"
    assert [turn.text for turn in nas.turns] == ["one", "three"]


async def test_two_moves_at_once_that_start_nowhere_are_none(stage: Stage) -> None:
    stage.peer("laptop", NOBODY)
    stage.peer("tower", NOBODY_EITHER)
    await stage.machine("nas")
    await stage.start()
    await stage.ask("nas", "one", headers=SESSION)
    answers = await asyncio.gather(*(stage.ask(to, "two", headers=MOVE) for to in ("laptop", "tower") * 5))
    assert {answer.status_code for answer in answers} == {503}
    assert affinity(await stage.ask("nas", "three", headers=SESSION)) == "hit"


async def test_a_first_turn_that_starts_nowhere_gives_no_home_even_for_a_moment(stage: Stage) -> None:
    stage.peer("laptop", NOBODY)
    await stage.machine("nas")
    await stage.start()
    for n in range(10):
        session = {"x-hermes-session-id": f"tale-{n}"}
        assert (await stage.ask("laptop", "one", headers=session)).status_code == 503
        assert affinity(await stage.ask("nas", "one", headers=session)) == "miss"


async def test_an_id_that_the_agent_refuses_moves_nothing(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    path = {"x-hermes-session-id": "../tale"}
    assert (await stage.ask("nas", "one", headers=path)).status_code == 400
    assert (await stage.ask("laptop", "one", headers=path)).status_code == 400, "it got as far as that agent"
    assert not laptop.turns


@pytest.mark.parametrize("mode", ["all", "first", "quorum", "council"])
async def test_a_group_uses_each_peers_own_session_and_moves_none(stage: Stage, mode: str) -> None:
    nas, laptop = await two_machines(stage)
    await stage.ask("nas", "alone", headers=SESSION)
    group = await stage.ask(f"{mode}@fleet", "together", headers=MOVE)
    assert group.status_code == 200
    assert "x-switchboard-affinity" not in group.headers
    together = [turn for agent in (nas, laptop) for turn in agent.turns if turn.text == "together"]
    assert {turn.session for turn in together} <= {"me.tale"}, "and nobody was told what was said alone"
    assert (await stage.ask("laptop", "mine?", headers=SESSION)).status_code == 409
    assert affinity(await stage.ask("nas", "mine", headers=SESSION)) == "hit"


async def test_a_session_that_began_with_a_group_has_no_home_yet(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await stage.ask("all@fleet", "together", headers=SESSION)
    assert affinity(await stage.ask("laptop", "mine", headers=SESSION)) == "miss"
    assert [(turn.text, turn.session) for turn in laptop.turns] == [("together", "me.tale"), ("mine", "me.tale")]
    assert (await stage.ask("nas", "mine", headers=SESSION)).status_code == 409


async def test_a_councils_chair_leaves_no_trace_in_the_session(stage: Stage) -> None:
    nas, _ = await two_machines(stage)
    body = {"switchboard": {"chair": "nas"}}
    assert (await stage.ask("council@fleet", "together", headers=SESSION, **body)).status_code == 200
    (chaired,) = (turn for turn in nas.turns if turn.text != "together")
    assert not chaired.session.startswith("me.")
    assert "x-hermes-session-id" not in chaired.headers


async def test_any_stays_at_home_though_others_stand_first(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    await stage.ask("laptop", "one", headers=SESSION)
    for headers in (SESSION, MOVE):
        answer = await stage.ask("any@fleet", "two", headers=headers)
        assert (affinity(answer), answer.headers["x-switchboard-peer"]) == ("hit", "laptop")
    assert (len(nas.turns), len(laptop.turns)) == (0, 3)


async def test_any_gives_a_home_to_a_session_without_one(stage: Stage) -> None:
    await two_machines(stage)
    answer = await stage.ask("any@fleet", "one", headers=SESSION)
    home = answer.headers["x-switchboard-peer"]
    other = {"nas": "laptop", "laptop": "nas"}[home]
    assert (affinity(answer), (await stage.ask(other, "two", headers=SESSION)).status_code) == ("miss", 409)


async def test_any_leaves_a_home_that_is_down_only_where_it_may(stage: Stage) -> None:
    laptop = await stage.machine("laptop")
    nas = await stage.machine("nas")
    await stage.start()
    await stage.ask("laptop", "one", headers=SESSION)
    laptop.gateway.is_draining = True
    await stage.ask("laptop", "down?", headers=SESSION)

    bound = await stage.ask("any@fleet", "two", headers=SESSION)
    assert (bound.status_code, bound.headers["x-switchboard-started"]) == (503, "no")
    assert not nas.turns
    free = await stage.ask("any@fleet", "three", headers=MOVE)
    assert (free.status_code, free.headers["x-switchboard-peer"]) == (200, "nas")
    assert "assistant: [laptop] echo: one" in nas.turns[0].text
    assert affinity(await stage.ask("nas", "four", headers=SESSION)) == "hit"


async def test_any_of_a_group_that_the_home_is_not_in_is_a_move(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.machine("laptop", capabilities=["gpu"])
    await stage.start()
    await stage.ask("nas", "one", headers=SESSION)
    assert (await stage.ask("any@gpu", "two", headers=SESSION)).status_code == 409
    assert affinity(await stage.ask("any@gpu", "two", headers=MOVE)) == "moved"


async def test_homes_and_what_was_said_outlive_the_coordinator(stage: Stage) -> None:
    _, laptop = await two_machines(stage)
    await stage.ask("nas", "one", headers=SESSION)
    await stage.restart()
    assert (await stage.ask("laptop", "two", headers=SESSION)).status_code == 409
    assert affinity(await stage.ask("laptop", "two", headers=MOVE)) == "moved"
    await stage.restart()
    assert affinity(await stage.ask("laptop", "three", headers=SESSION)) == "hit"
    told, plain = (turn.text for turn in laptop.turns)
    assert "user: one\nassistant: [nas] echo: one\n" in told
    assert plain == "three"


async def test_a_detached_turn_is_a_turn_of_its_session(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    begun = await stage.begin("nas", "!!hold=0.3 one", session="tale", policy="detach")
    assert (begun.status_code, begun.json()["session"]) == (202, "tale")
    assert (await stage.ask("laptop", "two", headers=SESSION)).status_code == 409, "while it goes on"
    await stage.ended(begun.json()["id"])
    assert affinity(await stage.ask("laptop", "two", headers=MOVE)) == "moved"
    assert nas.turns[0].session == "me.tale"
    assert "assistant: [nas] echo: one" in laptop.turns[0].text


async def test_a_turn_that_is_joined_is_one_turn_of_its_session_and_needs_no_home(stage: Stage) -> None:
    nas, laptop = await two_machines(stage)
    keyed = {**SESSION, "idempotency-key": "k"}
    first = await stage.ask("nas", "one", headers=keyed)
    await stage.ask("laptop", "two", headers=MOVE)
    again = await stage.ask("nas", "one", headers=keyed)
    assert again.headers["x-switchboard-turn"] == first.headers["x-switchboard-turn"]
    assert affinity(await stage.ask("laptop", "three", headers=SESSION)) == "hit", "to join is not to move"
    assert (len(nas.turns), len(laptop.turns)) == (1, 2)


async def test_the_session_of_a_body_is_the_one_that_counts_and_that_peers_see(stage: Stage) -> None:
    nas, _ = await two_machines(stage)
    for transport in ("chat", "runs"):
        begun = await stage.begin("nas", "one", headers=SESSION, session="other", transport=transport)
        await stage.ended(begun.json()["id"])
    assert [turn.session for turn in nas.turns] == ["me.other"] * 2
    assert affinity(await stage.ask("laptop", "two", headers=SESSION)) == "miss"


async def test_the_session_key_is_the_consumers_own_on_every_transport(stage: Stage) -> None:
    nas, _ = await two_machines(stage)
    key = {"x-hermes-session-key": "agent:main:web:42"}
    for transport in ("chat", "runs"):
        answer = await stage.ask("nas", "hi", headers={**key, "x-switchboard-transport": transport})
        assert (answer.status_code, answer.headers["x-hermes-session-key"]) == (200, "agent:main:web:42")
    assert [turn.headers["x-hermes-session-key"] for turn in nas.turns] == ["me.agent:main:web:42"] * 2


@pytest.mark.parametrize("header", ["x-hermes-session-id", "x-hermes-session-key"])
async def test_ids_may_be_as_long_as_an_agent_takes_them_with_the_consumers_name(stage: Stage, header: str) -> None:
    nas, _ = await two_machines(stage)
    longest = "x" * 253
    answer = await stage.ask("nas", "hi", headers={header: longest})
    assert (answer.status_code, answer.headers[header]) == (200, longest)
    assert nas.turns[0].headers[header] == f"me.{longest}"
    for value in (b"x" * 254, b"", b"caf\xc3\xa9", b"a\tb"):
        headers = httpx.Headers([(header.encode(), value)])
        refused = await stage.client.post("/v1/chat/completions", json=question("nas", "hi"), headers=headers)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, header)
    assert len(nas.turns) == 1


@pytest.mark.parametrize("session", ["x" * 254, "x" * 257, "", "café", "a\nb", 7])
async def test_a_session_in_a_body_that_no_agent_would_take_is_refused(stage: Stage, session: Any) -> None:
    nas, _ = await two_machines(stage)
    refused = await stage.begin("nas", "hi", session=session)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert "session" in refused.json()["detail"]
    assert not nas.turns
