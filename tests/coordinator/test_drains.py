"""Peers taken out of use and put back, over loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import free_ports
import httpx
import pytest
from coordinator.keyring import give
from coordinator.stage import WAIT_SECONDS, OddPeer, Stage, streaming
from sqlalchemy import text
from switchboard_coordinator.database import open_blocking
from waiting import until

ANSWER = streaming(
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"
)


@pytest.fixture
async def boss(stage: Stage) -> AsyncIterator[Callable[[], httpx.AsyncClient]]:
    """Makes a client whose key may drain, once the stage has started."""
    key = give(stage, "boss", "*", "admin", "raw:*")
    clients: list[httpx.AsyncClient] = []

    def client() -> httpx.AsyncClient:
        clients.append(stage.client_of(key))
        return clients[-1]

    yield client
    for each in clients:
        await each.aclose()


Boss = Callable[[], httpx.AsyncClient]


async def drain(client: httpx.AsyncClient, peer: str = "nas") -> dict[str, Any]:
    answer = await client.post(f"/api/peers/{peer}/drain")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


async def undrain(client: httpx.AsyncClient, peer: str = "nas") -> dict[str, Any]:
    answer = await client.post(f"/api/peers/{peer}/undrain")
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


async def places(stage: Stage, peer: str = "nas") -> tuple[int, int]:
    """How many turns run there, and wait."""
    turns = (await stage.peers())[peer]["turns"]
    return turns["running"], turns["waiting"]


def comes_to(stage: Stage, running: int, waiting: int, peer: str = "nas") -> Callable[[], Any]:
    async def holds() -> bool:
        return await places(stage, peer) == (running, waiting)

    return holds


async def test_what_runs_goes_on_what_is_named_waits_with_its_position_and_begins_when_the_drain_ends(
    stage: Stage, boss: Boss
) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    admin = boss()
    running = (await stage.begin("nas", "!!delay=0.2 !!repeat=5 one")).json()["id"]
    await until(comes_to(stage, 1, 0), seconds=WAIT_SECONDS)
    told = await drain(admin)
    assert (told["state"], told["turns"]) == ("draining", {"limit": 4, "running": 1, "waiting": 0})
    assert told == (await admin.get("/api/peers/nas")).json() | {"turns": told["turns"]}
    first = (await stage.begin("nas", "two")).json()["id"]
    second = (await stage.begin("nas", "three")).json()["id"]
    await until(comes_to(stage, 1, 2), seconds=WAIT_SECONDS)
    assert (await stage.ended(running))["state"] == "done"
    await until(comes_to(stage, 0, 2), seconds=WAIT_SECONDS)
    assert len(agent.turns) == 1
    assert (await undrain(admin))["state"] == "up"
    for turn in (first, second):
        assert (await stage.ended(turn))["state"] == "done"
        events = await stage.events(turn)
        positions = [event["position"] for event in events if event["event"] == "lane.queued"]
        assert positions[0] == (1 if turn == first else 2)


async def test_twice_is_as_once_and_who_did_it_is_in_the_audit_log(stage: Stage, boss: Boss) -> None:
    await stage.machine("nas")
    await stage.start()
    admin = boss()
    once = await drain(admin)
    assert await drain(admin) == once
    await undrain(admin)
    assert (await undrain(admin))["draining_since"] is None

    async def noted() -> bool:
        entries = (await admin.get("/api/audit")).json()["entries"]
        told = [(each["action"], each["subject"], each["count"]) for each in entries if each["actor"] == "boss"]
        return sorted(told) == [("peer.drain", "nas", 1), ("peer.undrain", "nas", 1)]

    await until(noted, seconds=WAIT_SECONDS)


@pytest.mark.parametrize("path", ["drain", "undrain"])
async def test_it_takes_an_admin_and_a_peer_that_there_is(stage: Stage, boss: Boss, path: str) -> None:
    key = give(stage, "you", "*", "raw:*")
    await stage.machine("nas")
    await stage.start()
    async with stage.client_of(key) as client:
        refused = await client.post(f"/api/peers/nas/{path}")
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    unknown = await boss().post(f"/api/peers/tower/{path}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    assert await stage.state("nas") == "up"


async def test_groups_go_on_without_it(stage: Stage, boss: Boss) -> None:
    nas, laptop = await stage.machine("nas"), await stage.machine("laptop")
    await stage.start()
    await drain(boss())
    for mode in ("any", "first", "all", "quorum", "council"):
        assert (await stage.ask(f"{mode}@fleet", "hi")).status_code == 200
    assert (len(nas.turns), len(laptop.turns)) == (0, 6)


async def test_a_turn_for_anyone_that_waited_there_goes_elsewhere(stage: Stage, boss: Boss) -> None:
    nas, laptop = await stage.machine("nas", max_turns=1), await stage.machine("laptop", max_turns=1)
    await stage.start()
    for peer in ("nas", "laptop"):
        await stage.begin(peer, "!!silence=60 busy")
    await until(comes_to(stage, 1, 0, "laptop"), seconds=WAIT_SECONDS)
    anyone = (await stage.begin("any@fleet", "hi")).json()["id"]
    await until(comes_to(stage, 1, 1), seconds=WAIT_SECONDS)
    await drain(boss())
    await until(comes_to(stage, 1, 1, "laptop"), seconds=WAIT_SECONDS)
    assert await places(stage) == (1, 0)
    assert (await stage.turn(anyone))["state"] == "queued"
    assert (len(nas.turns), len(laptop.turns)) == (1, 1)


async def test_raw_access_and_responses_wait_too_and_looking_does_not(stage: Stage, boss: Boss) -> None:
    await stage.machine("nas")
    await stage.start()
    admin = boss()
    await drain(admin)
    assert (await admin.get("/peers/nas/v1/models")).status_code == 200
    async with asyncio.TaskGroup() as tasks:
        body = {"model": "hermes-agent", "messages": [{"role": "user", "content": "hi"}]}
        raw = tasks.create_task(admin.post("/peers/nas/v1/chat/completions", json=body))
        response = tasks.create_task(admin.post("/v1/responses", json={"model": "nas", "input": "hi"}))
        await until(comes_to(stage, 0, 2), seconds=WAIT_SECONDS)
        await undrain(admin)
    assert (raw.result().status_code, response.result().status_code) == (200, 200)


async def test_what_waits_outlasts_that_its_machine_is_away_and_goes_there_as_soon_as_the_drain_ends(
    stage: Stage, boss: Boss
) -> None:
    port = free_ports.port("127.0.0.1")
    stage.peer("nas", port)
    await stage.start()
    admin = boss()
    assert (await drain(admin))["state"] == "down"
    turn = (await stage.begin("nas", "hi")).json()["id"]
    await until(comes_to(stage, 0, 1), seconds=WAIT_SECONDS)
    async with OddPeer(ANSWER).listening(port):
        assert (await undrain(admin))["state"] == "up", "it is looked at before anything goes there"
        assert (await stage.ended(turn))["state"] == "done"


async def test_a_drain_outlives_the_coordinator_and_what_runs_is_counted_and_goes_on(stage: Stage, boss: Boss) -> None:
    await stage.machine("nas", transport="runs")
    await stage.machine("laptop")
    await stage.start()
    turn = (await stage.begin("nas", "!!delay=0.5 !!repeat=8 tick")).json()["id"]
    await until(comes_to(stage, 1, 0), seconds=WAIT_SECONDS)

    async def is_on_record() -> bool:
        return "tick" in (await stage.turn(turn))["lanes"][0]["text"]

    await until(is_on_record, seconds=WAIT_SECONDS)
    since = (await drain(boss()))["draining_since"]
    await stage.restart()
    told = (await stage.peers())["nas"]
    assert (told["state"], told["draining_since"], told["turns"]["running"]) == ("draining", since, 1)
    assert await stage.state("laptop") == "up"
    assert (await stage.ended(turn))["state"] == "done"
    await until(comes_to(stage, 0, 0), seconds=WAIT_SECONDS)
    await undrain(boss())
    await stage.restart()
    assert await stage.state("nas") == "up"


async def test_a_peer_that_was_taken_out_of_the_file_is_forgotten(stage: Stage) -> None:
    await stage.machine("nas")
    engine = open_blocking(stage.database_file)
    with engine.begin() as connection:
        connection.execute(text("insert into drains values ('gone', 1.0, 'me')"))
    await stage.start()
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from drains")).scalar() == 0
    engine.dispose()


async def test_what_cannot_be_written_down_is_refused_and_not_so(stage: Stage, boss: Boss) -> None:
    await stage.machine("nas")
    await stage.start()
    engine = open_blocking(stage.database_file)
    with engine.begin() as connection:
        connection.execute(text("alter table drains rename to away"))
    refused = await boss().post("/api/peers/nas/drain")
    assert (refused.status_code, refused.json()["code"]) == (503, "journal_unavailable")
    assert await stage.state("nas") == "up"
    with engine.begin() as connection:
        connection.execute(text("alter table away rename to drains"))
    engine.dispose()
    assert (await drain(boss()))["state"] == "draining"


async def test_a_machine_is_replaced_under_steady_turns_to_it_and_to_anyone_and_none_fails(
    stage: Stage, boss: Boss
) -> None:
    port = free_ports.port("127.0.0.1")
    answer = ANSWER.replace(b"Transfer-Encoding", b"Connection: close\r\nTransfer-Encoding")
    stage.peer("nas", port)
    await stage.machine("laptop")
    statuses: dict[str, list[int]] = {"nas": [], "any@fleet": []}
    is_over = False

    async def load(to: str) -> None:
        while not is_over:
            statuses[to].append((await stage.ask(to, "hi")).status_code)

    async def some_more(*targets: str) -> None:
        seen = {to: len(statuses[to]) for to in targets}
        await until(lambda: all(len(statuses[to]) > seen[to] + 5 for to in targets), seconds=2 * WAIT_SECONDS)

    async with asyncio.TaskGroup() as tasks:
        async with OddPeer(answer).listening(port) as before:
            await stage.start()
            admin = boss()
            for to in ("nas", "nas", "any@fleet", "any@fleet"):
                tasks.create_task(load(to))
            await some_more("nas", "any@fleet")
            await drain(admin)
            await until(comes_to(stage, 0, 2), seconds=WAIT_SECONDS)
            turns = before.turns
            await some_more("any@fleet")
            assert before.turns == turns

        async def is_away() -> bool:
            return await stage.state("nas") == "down"

        await until(is_away, seconds=2 * WAIT_SECONDS)
        await some_more("any@fleet")
        async with OddPeer(answer).listening(port) as after:
            await undrain(admin)
            await some_more("nas", "any@fleet")
            is_over = True
            await until(comes_to(stage, 0, 0), seconds=WAIT_SECONDS)
            assert after.turns
    assert {status for each in statuses.values() for status in each} == {200}
