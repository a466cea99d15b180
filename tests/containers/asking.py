"""Asking the coordinator as a client does, and reading its stream while it comes."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from .machines import Fleet


def question(model: str, text: str, **more: Any) -> dict[str, Any]:
    """A chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@dataclass(slots=True)
class Heard:
    """A stream, as far as it was read."""

    response: httpx.Response
    lines: AsyncIterator[str]
    addresses: dict[int, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """Address to text; of one lane alone under its model id."""
    finishes: dict[str, str] = field(default_factory=dict)
    lanes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """How each lane ended."""
    error: dict[str, Any] | None = None
    is_done: bool = False

    async def read(self, until: "Callable[[Heard], bool] | None" = None) -> "Heard":
        """Read on to the end, or until `until(self)` holds."""
        async for line in self.lines:
            if line.startswith("data: "):
                self._take(line.removeprefix("data: "))
                if until is not None and until(self):
                    break
        return self

    def _take(self, data: str) -> None:
        if data == "[DONE]":
            self.is_done = True
            return
        value = json.loads(data)
        self.error = value.get("error", self.error)
        for lane in (value.get("switchboard") or {}).get("lanes") or ():
            self.addresses[lane["index"]] = lane["address"]
            if "state" in lane:
                self.lanes[lane["address"]] = lane
        for choice in value.get("choices") or ():
            address = self.addresses.get(choice["index"], str(choice["index"]))
            self.texts[address] = self.texts.get(address, "") + (choice["delta"].get("content") or "")
            if choice.get("finish_reason"):
                self.finishes[address] = choice["finish_reason"]


@asynccontextmanager
async def asked(fleet: Fleet, model: str, text: str, **more: Any) -> AsyncIterator[Heard]:
    """A stream that was begun; leaving the block leaves the turn."""
    async with (
        fleet.client() as client,
        client.stream("POST", "/v1/chat/completions", json=question(model, text, stream=True, **more)) as response,
    ):
        if response.status_code != 200:
            await response.aread()
        assert response.status_code == 200, response.text
        yield Heard(response, response.aiter_lines())


CHOICES = {"switchboard": {"answers": "choices"}}
