"""A client that is killed at any byte and comes back with Last-Event-ID sees exactly the rest."""

import asyncio
from random import Random

import httpx
from chance import as_many, seeded
from coordinator.stage import Stage, question

KILLS, KILLS_AT_LENGTH = 50, 500
PEERS = ("nas", "tower")


class Wanderer:
    """Reads one turn's events, dies again and again, and remembers the last whole event that it saw."""

    def __init__(self, client: httpx.AsyncClient, turn_id: str) -> None:
        self.seen: list[tuple[int, str, str]] = []
        self.text = ""
        self.has_ended = False
        self._client = client
        self._path = f"/api/turns/{turn_id}/events"
        self._cursor = "0"

    async def visit(self, life_bytes: int) -> None:
        """Come back, and die when so much was received."""
        received = b""
        async with self._client.stream("GET", self._path, headers={"last-event-id": self._cursor}) as answer:
            async for piece in answer.aiter_raw():
                received += piece
                if len(received) >= life_bytes:
                    break
            else:
                self.has_ended = True
        for frame in received[:life_bytes].split(b"\n\n")[:-1]:
            self._see(frame.decode())

    def _see(self, frame: str) -> None:
        if frame.startswith(":"):
            return
        lines = dict(line.split(": ", 1) for line in frame.splitlines())
        self._cursor = lines["id"]
        event = httpx.Response(200, text=lines["data"]).json()
        self.seen.append((int(lines["id"]), lines["event"], str(event.get("lane"))))
        self.text += event.get("text", "")


def words(random: Random) -> str:
    """Something to say that is nowhere the same."""
    return " ".join(str(random.randint(0, 10**6)) for _ in range(random.randint(10, 150)))


async def begun(stage: Stage, random: Random, text: str) -> str:
    """A turn, begun on either surface; a chat client is killed at some byte of its answer."""
    peer = random.choice(PEERS)
    asked = f"!!delay=0.003 {text}"
    if random.random() < 0.5:
        return str((await stage.begin(peer, asked)).json()["id"])
    body = question(peer, asked, stream=True)
    headers = {"x-switchboard-on-disconnect": "detach"}
    life, received = random.randint(1, 5000), 0
    async with stage.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        async for piece in answer.aiter_raw():
            received += len(piece)
            if received >= life:
                break
    return answer.headers["x-switchboard-turn"]


async def test_a_client_that_dies_again_and_again_misses_nothing_and_sees_nothing_twice(stage: Stage) -> None:
    agents = [await stage.machine(PEERS[0]), await stage.machine(PEERS[1], transport="runs")]
    await stage.start()
    random = seeded()
    wanted = as_many(KILLS, KILLS_AT_LENGTH)
    kills = 0

    async def one_turn() -> None:
        nonlocal kills
        text = words(random)
        wanderer = Wanderer(stage.client, await begun(stage, random, text))
        while not wanderer.has_ended:
            await wanderer.visit(random.choice((1, 50, 400, 3000)) + random.randint(0, 400))
            kills += not wanderer.has_ended
        ids = [event_id for event_id, _, _ in wanderer.seen]
        assert ids == list(range(1, len(ids) + 1)), "each event once"
        assert wanderer.seen[-1][1] == "turn.done"
        assert wanderer.text in (f"[{peer}] echo: {text}" for peer in PEERS)

    turns = 0
    while kills < wanted:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(one_turn())
        turns += 4
    print(f"{kills} kills in {turns} turns")
    assert sum(len(agent.turns) for agent in agents) == turns, "each was executed once"
    assert {turn.state for agent in agents for turn in agent.turns} == {"finished"}
