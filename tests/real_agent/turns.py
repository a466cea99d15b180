"""Turns as clients of the turn surface see them."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from waiting import until

OVER = frozenset(("done", "failed", "cancelled", "interrupted"))
TURN_SECONDS = 60.0


@dataclass(frozen=True)
class Shown:
    """One event of a turn; `cursor` is what a reader gives as Last-Event-ID to go on behind it."""

    cursor: str
    name: str
    data: dict[str, Any]


async def begin(client: httpx.AsyncClient, to: str, text: str, **more: Any) -> str:
    """Begin a turn; its id. `more` is the rest of the body."""
    answer = await client.post("/api/turns", json={"to": to, "text": text, **more})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


async def told(client: httpx.AsyncClient, turn: str) -> dict[str, Any]:
    """`GET /api/turns/{id}`."""
    answer = await client.get(f"/api/turns/{turn}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ended(client: httpx.AsyncClient, turn: str, *, seconds: float = TURN_SECONDS) -> dict[str, Any]:
    """The turn once it is over. Raises TimeoutError when it is not in that time."""

    async def is_over() -> bool:
        try:
            return (await told(client, turn))["state"] in OVER
        except httpx.TransportError:  # its coordinator is being started
            return False

    await until(is_over, seconds=seconds)
    return await told(client, turn)


@asynccontextmanager
async def reading(
    client: httpx.AsyncClient, turn: str, *, after: str | None = None
) -> AsyncIterator[AsyncIterator[Shown]]:
    """Its events from `after` on, as they come; leaving the block leaves the stream."""
    headers = {} if after is None else {"last-event-id": after}
    async with client.stream("GET", f"/api/turns/{turn}/events", headers=headers) as answer:
        assert answer.status_code == 200
        async with aclosing(_events(answer)) as events:
            yield events


async def read(client: httpx.AsyncClient, turn: str, *, after: str | None = None) -> list[Shown]:
    """All its events from `after` on, to the last."""
    async with reading(client, turn, after=after) as events:
        return [event async for event in events]


async def first(events: AsyncIterator[Shown], name: str) -> list[Shown]:
    """The next events, up to the first of this name."""
    seen = []
    async for event in events:
        seen.append(event)
        if event.name == name:
            return seen
    raise AssertionError(f"there was no {name} in {names(seen)}")


def text_of(events: Sequence[Shown]) -> str:
    """What its only lane said."""
    return "".join(event.data["text"] for event in events if event.name == "lane.text")


def names(events: Sequence[Shown]) -> list[str]:
    """The names of events, those that follow one of the same name left out."""
    return [event.name for n, event in enumerate(events) if n == 0 or events[n - 1].name != event.name]


def history(answer: httpx.Response) -> list[list[str]]:
    """What an agent was told was said before a whole `!!history`, as pairs of role and text."""
    content: str = answer.json()["choices"][0]["message"]["content"]
    found: list[list[str]] = json.loads(content.partition(" history: ")[2])
    return found


async def _events(answer: httpx.Response) -> AsyncGenerator[Shown]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif not line and "data" in fields:
            yield Shown(fields["id"], fields["event"], json.loads(fields["data"]))
            fields = {}
