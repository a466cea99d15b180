"""Asking as clients do, and reading streams frame by frame."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

END = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Heard:
    """A whole stream."""

    status: int
    headers: httpx.Headers
    frames: list[bytes]

    @property
    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """Event name (`message` where there is none) and JSON of every frame that has some, in order."""
        return [_event(frame) for frame in self.frames if frame != END and not frame.startswith(b":")]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The chunks, without the events that have a name."""
        return [data for name, data in self.events if name == "message"]

    def text(self, choice: int = 0) -> str:
        """What one choice says."""
        choices = [entry for chunk in self.chunks for entry in chunk.get("choices", ())]
        return "".join(entry["delta"].get("content") or "" for entry in choices if entry["index"] == choice)

    @property
    def is_whole(self) -> bool:
        """Whether it ended with its end mark."""
        return bool(self.frames) and self.frames[-1] == END


def question(model: str, text: str, **more: Any) -> dict[str, Any]:
    """The body of one chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


async def ask(
    client: httpx.AsyncClient, model: str, text: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> httpx.Response:
    """One question whose answer comes whole; `more` is the rest of the body."""
    return await client.post("/v1/chat/completions", json=question(model, text, **more), headers=headers)


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient, model: str, text: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> AsyncIterator[httpx.Response]:
    """A stream that was begun; leaving the block leaves the turn."""
    body = question(model, text, stream=True, **more)
    async with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        yield answer


async def hear(
    client: httpx.AsyncClient, model: str, text: str, *, headers: Mapping[str, str] | None = None, **more: Any
) -> Heard:
    """A whole stream."""
    async with stream(client, model, text, headers=headers, **more) as answer:
        body = await answer.aread()
    return Heard(answer.status_code, answer.headers, [frame + b"\n\n" for frame in body.split(b"\n\n")[:-1]])


def _event(frame: bytes) -> tuple[str, dict[str, Any]]:
    fields = dict(line.split(": ", 1) for line in frame.decode().strip().split("\n"))
    return fields.get("event", "message"), json.loads(fields["data"])
