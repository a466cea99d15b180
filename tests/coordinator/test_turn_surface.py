"""`/api/turns` over loopback: begun, listed, read from any point, cancelled, answered; and the terms of a request."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from coordinator.stage import Stage, heard, question
from switchboard_mock_agent.agent import MockAgent
from waiting import until

SLOW = "!!delay=0.05 !!repeat=20 tick"
LONG = "!!delay=0.02 !!repeat=4000 tick"
SAID = "[nas] echo: " + " ".join(["tick"] * 20)


async def test_a_turn_is_begun_read_and_found_again(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    begun = await stage.begin("nas", "hello")
    told = begun.json()
    assert begun.status_code == 202
    assert begun.headers["location"] == f"/api/turns/{told['id']}"
    assert begun.headers["x-switchboard-turn"] == told["id"]
    assert told["id"].removeprefix("turn_") == told["id"][5:]
    assert len(told["id"]) == 37
    assert (told["to"], told["mode"], told["policy"], told["session"]) == ("nas", None, "detach", None)
    assert [(lane["index"], lane["address"]) for lane in told["lanes"]] == [(0, "default@nas")]
    done = await stage.ended(told["id"])
    assert (done["state"], done["lanes"][0]["text"]) == ("done", "[nas] echo: hello")
    assert done["usage"] == done["lanes"][0]["usage"]
    assert done["usage"]["total_tokens"] > 0
    assert [turn.text for turn in agent.turns] == ["hello"]


async def test_the_events_of_a_turn_tell_its_life_in_order(stage: Stage) -> None:
    await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", '!!tool=terminal:{"command":"echo x"} hello')).json()["id"]
    events = await stage.events(turn_id)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    assert {event["turn"] for event in events} == {turn_id}
    names = [event["event"] for event in events]
    assert names[:3] == ["turn.accepted", "lane.sent", "lane.run"]
    assert names[-2:] == ["lane.done", "turn.done"]
    assert names.count("lane.tool") == 2
    assert "".join(event["text"] for event in events if event["event"] == "lane.text").strip().endswith("echo: hello")
    assert {event["address"] for event in events if "lane" in event} == {"default@nas"}
    frames = (await stage.client.get(f"/api/turns/{turn_id}/events")).text.split("\n\n")
    assert frames[1].splitlines()[:2] == ["id: 2", "event: lane.sent"]


@pytest.mark.parametrize("body", ["messages", "text"])
async def test_what_is_asked_is_a_text_or_messages(stage: Stage, body: str) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    talk = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    asked = {"text": "hello"} if body == "text" else {"messages": talk}
    begun = await stage.client.post("/api/turns", json={"to": "nas", **asked})
    await stage.ended(begun.json()["id"])
    assert agent.turns[0].body["messages"] == (talk if body == "messages" else talk[1:])


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"to": "nas"}, "give `text` or `messages`"),
    ({"to": "nas", "text": "x", "messages": [{"role": "user", "content": "x"}]}, "give `text` or `messages`"),
    ({"text": "x"}, "`to`"),
    ({"to": "nas", "text": ""}, "`text`"),
    ({"to": "nas", "text": "x", "policy": "stay"}, "`policy`"),
    ({"to": "nas", "text": "x", "transport": "mail"}, "`transport`"),
    ({"to": "nas", "text": "x", "deadline_ms": 0}, "`deadline_ms`"),
    ({"to": "nas", "text": "x", "unknown": 1}, "`unknown`"),
]


async def test_a_malformed_turn_is_refused_in_words(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    for body, words in MALFORMED:
        answer = await stage.client.post("/api/turns", json=body)
        told = answer.json()
        assert (answer.status_code, told["code"]) == (400, "invalid_request")
        assert answer.headers["content-type"] == "application/problem+json"
        assert words in told["detail"]
    unknown = await stage.begin("tower", "x")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "model_not_found")
    assert agent.turns == []


async def test_turns_are_listed_by_page_by_state_and_by_session(stage: Stage) -> None:
    await stage.machine("nas", max_turns=1)
    await stage.start()
    for number in range(5):
        begun = await stage.begin("nas", "hello", session=f"s{number % 2}")
        await stage.ended(begun.json()["id"])
    running = (await stage.begin("nas", LONG)).json()["id"]
    queued = (await stage.begin("nas", "hello")).json()["id"]
    await until(lambda: is_in(stage, running, "running"), seconds=5)

    async def listed(**given: object) -> tuple[list[str], str | None]:
        answer = (await stage.client.get("/api/turns", params=given)).json()  # type: ignore[arg-type]
        return [turn["id"] for turn in answer["turns"]], answer["next"]

    every, _ = await listed()
    assert every[:2] == [queued, running]
    assert len(every) == 7
    paged: list[str] = []
    before: str | None = "turn_z"
    while before is not None:
        page, before = await listed(limit=3, before=before)
        paged += page
        assert len(page) <= 3
    assert paged == every
    assert await listed(state="running") == ([running], None)
    assert await listed(state="queued") == ([queued], None)
    assert await listed(state="done") == (every[2:], None)
    assert await listed(state="failed") == ([], None)
    assert (await listed(session="s1"))[0] == [every[3], every[5]]
    row = (await stage.client.get("/api/turns", params={"state": "running"})).json()["turns"][0]
    assert (row["state"], row["to"], row["policy"], row["transport"]) == ("running", "nas", "detach", "chat")
    for wrong in ({"state": "over"}, {"limit": "0"}, {"limit": "x"}, {"limit": "501"}):
        assert (await stage.client.get("/api/turns", params=wrong)).status_code == 400
    for turn_id in (queued, running):
        assert (await stage.client.post(f"/api/turns/{turn_id}/cancel")).status_code == 200
        await stage.ended(turn_id)
    assert (await listed(state="cancelled"))[0] == [queued, running]


async def is_in(stage: Stage, turn_id: str, state: str) -> bool:
    return bool((await stage.turn(turn_id))["state"] == state)


async def test_a_turn_that_is_not_there_is_404_on_every_route(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    for path in ("", "/events"):
        answer = await stage.client.get(f"/api/turns/turn_nothing{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "turn_not_found")
    for path in ("/cancel", "/approvals/approval_0_1"):
        answer = await stage.client.post(
            f"/api/turns/turn_nothing{path}", json={"choice": "deny"} if "app" in path else {}
        )
        assert (answer.status_code, answer.json()["code"]) == (404, "turn_not_found")


@pytest.mark.parametrize("way", ["header", "after", "both"])
async def test_events_go_on_from_any_point_live_and_finished(stage: Stage, way: str) -> None:
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", SLOW)).json()["id"]

    async def rest(after: int) -> list[int]:
        headers = {} if way == "after" else {"last-event-id": str(after)}
        params = {"header": {}, "after": {"after": str(after)}, "both": {"after": "0"}}[way]
        answer = await stage.client.get(f"/api/turns/{turn_id}/events", params=params, headers=headers)
        return [chunk["id"] for chunk in (await heard(answer)).chunks]

    await until(lambda: has_said(stage, turn_id), seconds=5)
    live = await asyncio.gather(*(rest(after) for after in range(6)))
    last = live[0][-1]
    assert live == [list(range(after + 1, last + 1)) for after in range(6)]
    assert [await rest(after) for after in range(last + 2)] == [
        list(range(after + 1, last + 1)) for after in range(last + 2)
    ]


async def has_said(stage: Stage, turn_id: str) -> bool:
    return bool((await stage.turn(turn_id))["lanes"][0]["text"])


async def test_a_cursor_that_is_none_is_refused(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", "hello")).json()["id"]
    for wrong in ("x", "-1", "1-", "1.5", "99999999999999"):
        answer = await stage.client.get(f"/api/turns/{turn_id}/events", headers={"last-event-id": wrong})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_many_readers_each_get_all_of_it_whenever_they_come(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", SLOW)).json()["id"]
    readers = []
    for _ in range(10):
        readers.append(asyncio.create_task(stage.events(turn_id)))
        await asyncio.sleep(0.07)  # they come one after the other
    told = [await reader for reader in readers]
    assert all(events == told[0] for events in told)
    assert "".join(event.get("text", "") for event in told[0]) == SAID


async def test_comments_keep_the_line_of_a_reader_warm(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchboard_coordinator.surfaces.turn_surface.QUIET_SECONDS", 0.05)
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!silence=0.6 late")).json()["id"]
    answer = await stage.client.get(f"/api/turns/{turn_id}/events")
    assert 2 <= (await heard(answer)).frames.count(b": keepalive\n\n") <= 30


async def test_a_turn_goes_on_without_a_reader_and_ends_with_its_last_one_where_that_is_its_policy(
    stage: Stage,
) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    detached = (await stage.begin("nas", SLOW)).json()["id"]
    attended = (await stage.begin("nas", LONG, policy="cancel")).json()["id"]
    for turn_id in (detached, attended):
        async with AsyncExitStack() as both:
            for _ in range(2):
                answer = await both.enter_async_context(stage.client.stream("GET", f"/api/turns/{turn_id}/events"))
                await anext(aiter(answer.aiter_bytes()))
    told = await stage.ended(attended)
    assert (told["state"], told["reason"]) == ("cancelled", "client_left")
    assert (await stage.ended(detached))["state"] == "done"
    await until(lambda: sorted(turn.state for turn in agent.turns) == ["finished", "interrupted"], seconds=5)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("transport", ["chat", "runs"])
async def test_a_chat_client_that_leaves_a_detached_turn_finds_its_answer_later(
    stage: Stage, stream: bool, transport: str
) -> None:
    agent = await stage.machine("nas", transport=transport)
    await stage.start()
    headers = {"x-switchboard-on-disconnect": "detach"}
    await leave(stage, agent, question("nas", SLOW, stream=stream), headers)
    turn_id = (await stage.client.get("/api/turns")).json()["turns"][0]["id"]
    told = await stage.ended(turn_id)
    assert (told["state"], told["policy"], told["lanes"][0]["text"]) == ("done", "detach", SAID)
    assert [turn.state for turn in agent.turns] == ["finished"]
    assert "".join(event.get("text", "") for event in await stage.events(turn_id)) == SAID


async def leave(stage: Stage, agent: MockAgent, body: dict[str, Any], headers: dict[str, str]) -> None:
    """Ask, and go when the agent works."""
    async with stage.client_of(stage.key) as client:
        asking = asyncio.create_task(client.post("/v1/chat/completions", json=body, headers=headers))
        await until(lambda: len(agent.turns) == 1, seconds=5)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("model", "text"), [("nas", LONG), ("nas", "!!silence=60 x"), ("nas", "!!hold=60 x"), ("all@fleet", LONG)]
)
async def test_a_deadline_ends_a_turn_wherever_it_stands(stage: Stage, stream: bool, model: str, text: str) -> None:
    agent = await stage.machine("nas")
    await stage.machine("tower")
    await stage.start()
    headers = {"x-switchboard-deadline-ms": "300"}
    body = question(model, text, stream=stream)
    answer = await stage.client.post("/v1/chat/completions", json=body, headers=headers)
    if answer.status_code == 200:
        error = (await heard(answer)).chunks[-1]["error"]
        assert stream
    else:
        error = answer.json()["error"]
        assert answer.status_code == 504
        assert answer.headers["x-switchboard-started"] == "unknown"
    assert error["code"] == "deadline_exceeded"
    told = await stage.ended(answer.headers["x-switchboard-turn"])
    assert (told["state"], told["reason"]) == ("cancelled", "deadline")
    assert {lane["state"] for lane in told["lanes"]} == {"cancelled"}
    assert len(agent.turns) == 1


async def test_a_deadline_that_passes_in_the_queue_started_nothing(stage: Stage) -> None:
    agent = await stage.machine("nas", max_turns=1)
    await stage.start()
    running = (await stage.begin("nas", LONG)).json()["id"]
    answer = await stage.ask("nas", "hello", headers={"x-switchboard-deadline-ms": "200"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert answer.headers["x-switchboard-started"] == "no"
    await stage.client.post(f"/api/turns/{running}/cancel")
    assert (await stage.ended(running))["state"] == "cancelled"
    assert [turn.text for turn in agent.turns] == [LONG]


async def test_a_header_that_says_what_it_cannot_is_refused(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    for header, value in (
        ("x-switchboard-deadline-ms", "0"),
        ("x-switchboard-deadline-ms", "1.5"),
        ("x-switchboard-deadline-ms", "99999999999"),
        ("x-switchboard-on-disconnect", "stay"),
        ("x-switchboard-transport", "mail"),
        ("x-switchboard-move", "perhaps"),
    ):
        answer = await stage.ask("nas", "hello", headers={header: value})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, header)
        twice = httpx.Headers([(header, "1"), (header, "1")])
        answer = await stage.client.post("/v1/chat/completions", json=question("nas", "x"), headers=twice)
        assert answer.status_code == 400
    assert agent.turns == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_header_says_who_is_asked_in_place_of_the_model(stage: Stage, stream: bool) -> None:
    agents = [await stage.machine(name) for name in ("nas", "tower")]
    await stage.start()
    body = question("nas", "hello", stream=stream)
    for sent in (body, {name: value for name, value in body.items() if name != "model"}):
        answer = await stage.client.post("/v1/chat/completions", json=sent, headers={"x-switchboard-to": "tower"})
        assert answer.status_code == 200
        assert "[tower]" in answer.text.replace('"}', "") or (await heard(answer)).text.startswith("[tower]")
        assert answer.headers["x-switchboard-peer"] == "tower"
    assert [len(agent.turns) for agent in agents] == [0, 2]


async def test_an_approval_is_asked_for_and_given_by_whoever_owns_the_turn(stage: Stage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!approve=make hello")).json()["id"]
    await until(lambda: waits(stage, turn_id), seconds=5)
    asked = (await stage.turn(turn_id))["lanes"][0]["approvals"][0]
    assert asked["command"] == "make"
    path = f"/api/turns/{turn_id}/approvals"
    for wrong, status in (({"choice": "perhaps"}, 400), ({}, 400)):
        assert (await stage.client.post(f"{path}/{asked['approval']}", json=wrong)).status_code == status
    other = await stage.client.post(f"{path}/approval_7_7", json={"choice": "once"})
    assert (other.status_code, other.json()["code"]) == (409, "approval_not_pending")
    assert (await stage.client.post(f"{path}/{asked['approval']}", json={"choice": "once"})).status_code == 200
    again = await stage.client.post(f"{path}/{asked['approval']}", json={"choice": "once"})
    assert (again.status_code, again.json()["code"]) == (409, "approval_not_pending")
    assert (await stage.ended(turn_id))["state"] == "done"
    approved = [event for event in await stage.events(turn_id) if event["event"] == "lane.approved"]
    assert [(event["choice"], event["by"]) for event in approved] == [("once", "me")]
    assert [turn.state for turn in agent.turns] == ["finished"]


async def waits(stage: Stage, turn_id: str) -> bool:
    return bool((await stage.turn(turn_id))["lanes"][0]["approvals"])


async def test_a_chat_client_that_cannot_approve_is_told_that_it_was_denied(stage: Stage) -> None:
    await stage.machine("nas", transport="runs")
    await stage.start()
    told = await stage.hear("nas", "!!approve=make hello")
    assert told.is_whole
    assert "denied" in told.text
    assert "make" in told.text


async def test_a_run_whose_events_break_off_is_completed_from_its_status(stage: Stage) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    told = await stage.hear("nas", "!!cut !!repeat=30 hello you")
    assert told.is_whole
    assert told.text == "[nas] echo: " + " ".join(["hello you"] * 30)
    assert told.chunks[-1]["usage"]["total_tokens"] > 0
    assert len(agent.turns) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_a_run_that_died_is_an_unknown_outcome(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    body = question("nas", "!!die !!repeat=30 hello", stream=stream)
    answer = await stage.client.post("/v1/chat/completions", json=body)
    error = (await heard(answer)).chunks[-1]["error"] if stream else answer.json()["error"]
    assert error["code"] == "peer_outcome_unknown"
    assert (await stage.turn(answer.headers["x-switchboard-turn"]))["state"] == "interrupted"
    assert len(agent.turns) == 1
