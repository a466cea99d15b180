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
    """`frames` are the server-sent events of a stream, each as (event, data); `status` is 0 where no answer came."""

    title: str
    method: str
    path: str
    headers: dict[str, str]
    content: str
    status: int
    answered: dict[str, str]
    body: str

    @property
    def is_stream(self) -> bool:
        """Whether the answer is server-sent events."""
        return self.answered.get("Content-Type") == "text/event-stream"

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
                int(status.split(" ")[1]) if status else 0,
                _headers(answer_lines),
                body.strip("\n"),
            )
        titles = re.findall(r"^# (.*)$", part.partition("=== closed")[2] or part, flags=re.MULTILINE)
        title = titles[-1] if titles else title


def _headers(lines: list[str]) -> dict[str, str]:
    return {name: _whole(value.strip()) for name, _, value in (line.partition(":") for line in lines if line)}


def _whole(value: str) -> str:
    """A value that the recording shortened: `sss... (257 characters)`."""
    shortened = re.fullmatch(r"(.)\1*\.\.\. \((\d+) characters\)", value)
    return shortened[1] * int(shortened[2]) if shortened else value


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


_VOLATILE = {
    *("id", "created", "created_at", "updated_at", "timestamp", "duration"),
    *("run_id", "session_id", "item_id", "call_id", "toolCallId", "response_item_id"),
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"),
}


def stable(value: Any) -> Any:
    """Keys in their order and values, but those that differ each time: ids, times, counts of tokens."""
    if isinstance(value, dict):
        return [(key, "…" if key in _VOLATILE else stable(entry)) for key, entry in value.items()]
    if isinstance(value, list):
        return [stable(entry) for entry in value]
    return value


def frame_shapes(told: list[tuple[str, str]]) -> list[Any]:
    """The shapes of a stream's events; the same one again and again counts once."""
    shapes: list[Any] = []
    for event, data in told:
        seen = event, data if data == "[DONE]" else shape(json.loads(data))
        if not shapes or shapes[-1] != seen:
            shapes.append(seen)
    return shapes
