"""Recorded exchanges with a real hermes-agent: a request, and what came back."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent
RECORDED_KEY = "dummy-api-server-key-0123456789"


@dataclass(frozen=True)
class Exchange:
    """`frames` are the server-sent events of a stream, each as (event, data)."""

    title: str
    method: str
    path: str
    headers: dict[str, str]
    content: str
    status: int
    answered: dict[str, str]
    body: str

    @property
    def frames(self) -> list[tuple[str, str]]:
        """The events of a stream, without the times at which they came."""
        return frames(re.sub(r"^\[\+[0-9.]+s\]\n", "", self.body, flags=re.MULTILINE))


def exchanges(name: str) -> list[Exchange]:
    """All exchanges of one file."""
    text = (RECORDED / f"{name}.txt").read_text()
    return list(_exchanges(text))


def _exchanges(text: str) -> Iterator[Exchange]:
    title = ""
    for part in re.split(r"^>>> REQUEST\n", text, flags=re.MULTILINE):
        asked, mark, answer = part.partition("\n<<< RESPONSE")
        if mark:
            head, _, content = asked.partition("\n\n")
            first, *lines = head.split("\n")
            method, path, _ = first.split(" ")
            answer = answer.partition("\n")[2].partition("\n=== closed")[0]
            answer = re.sub(r"^HTTP/1.1 100 Continue\n\n", "", answer)
            answer_head, _, body = answer.partition("\n\n")
            status, *answer_lines = answer_head.split("\n")
            yield Exchange(
                title,
                method,
                path,
                _headers(lines),
                content.strip("\n"),
                int(status.split(" ")[1]),
                _headers(answer_lines),
                body.strip("\n"),
            )
        titles = re.findall(r"^# (.*)$", part.partition("=== closed")[2] or part, flags=re.MULTILINE)
        title = titles[-1] if titles else title


def _headers(lines: list[str]) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines if line)}


def frames(text: str) -> list[tuple[str, str]]:
    """The events of a stream, each as (event, data); comments are left out."""
    found = []
    for frame in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.strip("\n").split("\n") if ": " in line[1:])
        if "data" in fields:
            found.append((fields.get("event", ""), fields["data"]))
    return found


def shape(value: Any) -> Any:
    """Keys in their order, all the way down; of a list its first entry."""
    if isinstance(value, dict):
        return [(key, shape(entry)) for key, entry in value.items()]
    if isinstance(value, list):
        return [shape(entry) for entry in value[:1]]
    return None


def frame_shapes(told: list[tuple[str, str]]) -> list[Any]:
    """The shapes of a stream's events; the same one again and again counts once."""
    shapes: list[Any] = []
    for event, data in told:
        seen = event, data if data == "[DONE]" else shape(json.loads(data))
        if not shapes or shapes[-1] != seen:
            shapes.append(seen)
    return shapes
