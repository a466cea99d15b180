"""What one consumer has is not there for another; and what `docs/security.md` says is not defended."""

from typing import Any

import httpx
from coordinator.keyring import give
from coordinator.stage import WAIT_SECONDS, Stage, question
from waiting import until

SESSION = {"x-hermes-session-id": "tale"}


async def everything_of(client: httpx.AsyncClient, turn_id: str, approval: str) -> list[httpx.Response]:
    """Every way to a turn."""
    path = f"/api/turns/{turn_id}"
    return [
        await client.get(path),
        await client.get(f"{path}/events"),
        await client.post(f"{path}/approvals/{approval}", json={"choice": "once"}),
        await client.post(f"{path}/cancel"),
    ]


async def test_a_turn_of_somebody_else_is_not_there_on_any_way(stage: Stage) -> None:
    you = give(stage, "you", "*", "admin")
    agent = await stage.machine("nas", transport="runs")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!approve=make hello", session="tale")).json()["id"]

    async def waits() -> bool:
        return bool((await stage.turn(turn_id))["lanes"][0]["approvals"])

    await until(waits, seconds=WAIT_SECONDS)
    approval = (await stage.turn(turn_id))["lanes"][0]["approvals"][0]["approval"]
    async with stage.client_of(you) as client:
        nothing = [answer.json() for answer in await everything_of(client, "turn_nothing", "approval_0_1")]
        for answer, none in zip(await everything_of(client, turn_id, approval), nothing, strict=True):
            assert (answer.status_code, answer.json()["code"]) == (404, "turn_not_found")
            assert answer.json()["detail"].replace(turn_id, "turn_nothing") == none["detail"], "told as one of nobody's"
        assert (await client.get("/api/turns")).json()["turns"] == []
        assert (await client.get("/api/turns", params={"session": "tale"})).json()["turns"] == []
    assert (await stage.turn(turn_id))["state"] == "running"
    assert agent.turns[0].state == "running"
    await stage.client.post(f"/api/turns/{turn_id}/cancel")


async def test_nor_is_it_when_it_is_over(stage: Stage) -> None:
    you = give(stage, "you", "*")
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", "hello")).json()["id"]
    await stage.ended(turn_id)
    async with stage.client_of(you) as client:
        for answer in await everything_of(client, turn_id, "approval_0_1"):
            assert (answer.status_code, answer.json()["code"]) == (404, "turn_not_found")


async def test_who_may_cancel_others_may_that_alone_and_it_stands_in_the_audit_log(stage: Stage) -> None:
    warden, boss = give(stage, "warden", "cancel-others"), give(stage, "boss", "admin")
    await stage.machine("nas")
    await stage.start()
    turn_id = (await stage.begin("nas", "!!silence=60 hello")).json()["id"]
    async with stage.client_of(warden) as client, stage.client_of(boss) as admin:
        assert (await client.get(f"/api/turns/{turn_id}")).status_code == 404
        assert (await client.post(f"/api/turns/{turn_id}/cancel")).status_code == 200
        assert (await stage.ended(turn_id))["state"] == "cancelled"

        async def is_noted() -> bool:
            entries: list[dict[str, Any]] = (await admin.get("/api/audit")).json()["entries"]
            return ("warden", "turn.cancel", turn_id) in [
                (entry["actor"], entry["action"], entry["subject"]) for entry in entries
            ]

        await until(is_noted, seconds=WAIT_SECONDS)


async def test_raw_access_names_sessions_as_their_agent_does_so_whoever_has_it_reaches_all_of_them(
    stage: Stage,
) -> None:
    raw = give(stage, "raw", "raw:nas")
    agent = await stage.machine("nas")
    await stage.start()
    await stage.ask("nas", "a word of mine", headers=SESSION)
    async with stage.client_of(raw) as client:
        headers = {"x-hermes-session-id": "me.tale"}
        answer = await client.post("/peers/nas/v1/chat/completions", json=question("x", "hi"), headers=headers)
        assert answer.status_code == 200
    assert agent.turns[-1].history[0]["content"] == "a word of mine"
