"""Every change of the roster, as readers of `/api/peers/events` see it; and what the roster's other routes tell."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from coordinator.stage import Stage, plain_client
from doubles.serving import serving
from starlette.applications import Starlette
from starlette.routing import Route
from switchboard_coordinator.address import Address
from switchboard_coordinator.peers.admission import Admission
from switchboard_coordinator.peers.health import LET_IN, Found, no_network, reported
from switchboard_coordinator.peers.peers_file import parse_peers
from switchboard_coordinator.peers.roster import Roster
from switchboard_coordinator.serve import Drain
from switchboard_coordinator.surfaces import roster_events
from switchboard_coordinator.surfaces.roster_events import RosterEvents
from switchboard_coordinator.surfaces.roster_surface import RosterSurface
from waiting import until

PEERS = """\
peers:
  nas: {host: nas, password_file: p, profiles: {default: {capabilities: [home]}, work: }}
  tower: {host: tower, password_file: p, profiles: {default: {capabilities: [home, gpu]}}}
"""
AWAY = no_network("refused")
UP = reported("up", None)
Event = tuple[str, Any]


@dataclass
class Board:
    """A roster that a test changes, and its routes under a server."""

    roster: Roster
    admission: Admission
    client: httpx.AsyncClient

    async def get(self, path: str) -> Any:
        """What a route answers."""
        return (await self.client.get(path)).json()

    @asynccontextmanager
    async def reader(self) -> AsyncIterator["Reader"]:
        """Somebody who reads the events, from its snapshot on."""
        async with self.client.stream("GET", "/api/peers/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-cache"
            yield Reader(answer.aiter_lines())

    @property
    def listeners(self) -> int:
        """How many are told of changes."""
        return len(vars(self.roster)["_listeners"])


@dataclass
class Reader:
    lines: AsyncIterator[str]
    comments: list[str] = field(default_factory=list)

    async def next(self) -> Event:
        """The next event, behind any comments."""
        name = ""
        async with asyncio.timeout(10):
            async for line in self.lines:
                if line.startswith(":"):
                    self.comments.append(line)
                elif line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    return name, json.loads(line.removeprefix("data: "))
        raise AssertionError("the stream ended")


@pytest.fixture
async def board() -> AsyncIterator[Board]:
    roster = Roster(parse_peers(PEERS, "peers.yaml"))
    admission = Admission({"nas": 4, "tower": 2})
    surface = RosterSurface(roster, admission)
    routes = [
        Route("/api/peers", surface.all),
        Route("/api/peers/events", RosterEvents(roster, surface, Drain(0))),
        Route("/api/peers/{peer}", surface.one),
        Route("/api/groups", surface.groups),
    ]
    async with serving(Starlette(routes=routes)) as url, plain_client(base_url=url) as client:
        yield Board(roster, admission, client)


async def test_a_reader_gets_all_peers_first_and_then_every_peer_that_changed_whole(board: Board) -> None:
    async with board.reader() as reader:
        assert await reader.next() == ("peers.snapshot", await board.get("/api/peers"))
        board.roster.note("nas", LET_IN, {"default": Found(UP, "0.19.0"), "work": Found(UP)}, 1.5)
        event = await reader.next()
        assert event == ("peer.changed", await board.get("/api/peers/nas"))
        assert (event[1]["state"], event[1]["profiles"][0]["agent_version"]) == ("up", "0.19.0")
        board.roster.turned(Address("work", "nas"), "failed", "peer_failed")
        turn = (await reader.next())[1]["profiles"][1]["levels"]["turn"]
        assert turn.pop("at")
        assert turn == {"state": "failed", "outcome": "failed", "code": "peer_failed"}


async def test_every_reader_hears_every_change(board: Board) -> None:
    async with board.reader() as first, board.reader() as second:
        for reader in (first, second):
            assert (await reader.next())[0] == "peers.snapshot"
        board.roster.note("tower", AWAY, {}, None)
        for reader in (first, second):
            name, peer = await reader.next()
            assert (name, peer["name"], peer["levels"]["network"]["state"]) == ("peer.changed", "tower", "failed")
        assert board.listeners == 2
        board.roster.note("nas", AWAY, {}, None)
        for reader in (first, second):
            assert (await reader.next())[1]["name"] == "nas", "a peer that did not change was told once more"
    await until(lambda: board.listeners == 0, seconds=5)


async def test_a_reader_that_is_slow_misses_states_but_no_peer_and_delays_nobody(board: Board) -> None:
    sent: list[bytes] = []
    may_go_on = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if not sent:
            return {"type": "http.request"}
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))
        if len(sent) > 1:
            await may_go_on.wait()

    scope = {"type": "http", "path": "/api/peers/events"}
    slow = asyncio.create_task(RosterEvents(board.roster, RosterSurface(board.roster), Drain(0))(scope, receive, send))
    await until(lambda: len(sent) == 2, seconds=5)
    async with board.reader() as quick:
        await quick.next()
        for number in range(100):
            board.roster.note("nas", no_network(f"reason {number}"), {}, None)
            assert (await quick.next())[1]["detail"] == f"reason {number}"
        board.roster.note("tower", AWAY, {}, None)
    may_go_on.set()
    await until(lambda: len(sent) == 3, seconds=5)
    told = [json.loads(frame.partition(b"data: ")[2]) for frame in sent[2].split(b"\n\n")[:-1]]
    assert [(peer["name"], peer["detail"]) for peer in told] == [("nas", "reason 99"), ("tower", "refused")]
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await until(lambda: board.listeners == 0, seconds=5)


async def test_comments_keep_the_line_warm_while_nothing_changes(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    assert roster_events.QUIET_SECONDS < 5
    monkeypatch.setattr(roster_events, "QUIET_SECONDS", 0.02)
    async with board.reader() as reader:
        await reader.next()
        soon = asyncio.get_running_loop().call_later(0.2, board.roster.note, "nas", AWAY, {}, None)
        assert (await reader.next())[0] == "peer.changed"
        assert len(reader.comments) >= 2
        soon.cancel()


async def test_groups_are_told_with_their_addresses_and_the_ids_of_their_modes(board: Board) -> None:
    groups = {group.pop("name"): group for group in (await board.get("/api/groups"))["groups"]}
    assert [*groups] == ["fleet", "home", "gpu"]
    assert groups["home"]["addresses"] == ["default@nas", "default@tower"]
    assert groups["fleet"]["addresses"] == ["default@nas", "work@nas", "default@tower"]
    assert groups["gpu"]["models"]["all"] == "all@gpu"


async def test_a_peer_tells_how_many_turns_it_has(board: Board) -> None:
    def unheard(_: object) -> None: ...

    async with board.admission.place("tower", "me", unheard), board.admission.place("tower", "me", unheard):
        assert board.admission.free("tower") == 0
        assert (await board.get("/api/peers/tower"))["turns"] == {"limit": 2, "running": 2, "waiting": 0}
    assert (await board.get("/api/peers/tower"))["turns"]["running"] == 0


async def test_a_coordinator_has_these_routes_and_they_need_a_key(stage: Stage) -> None:
    await stage.machine("nas", capabilities=["home"])
    await stage.start()
    async with stage.client.stream("GET", "/api/peers/events") as answer:
        assert await Reader(answer.aiter_lines()).next() == (
            "peers.snapshot",
            (await stage.client.get("/api/peers")).json(),
        )
    groups = (await stage.client.get("/api/groups")).json()["groups"]
    assert {group["name"]: group["models"]["all"] for group in groups} == {"fleet": "all@fleet", "home": "all@home"}
    async with plain_client(base_url=stage.url) as stranger:
        for path in ("/api/peers/events", "/api/groups"):
            assert (await stranger.get(path)).status_code == 401
