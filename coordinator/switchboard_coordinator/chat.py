"""Chat completions: the request as a client sent it, and what a peer's frames say. Pure.

A request is edited in place, so that a peer gets the client's own bytes with nothing but `model` (and, for a client
that does not stream, `stream`) replaced.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, Self

from . import lenient_json, sse
from .errors import MalformedRequest
from .options import Options, parse_options

_BLANK = re.compile(r"[ \t\r\n]*")
_TRUE = frozenset(("true", "1", "yes", "on"))  # what an agent takes for true (hermes-agent 0.19.0)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One body of `POST /v1/chat/completions`."""

    model: str
    is_stream: bool
    options: Options
    _text: str
    _spans: dict[str, tuple[int, int]]

    @classmethod
    def parse(cls, body: bytes, to: str | None = None) -> Self:
        """Read a body, keeping where each top-level value stands; `to` says who is asked in place of its `model`.

        Raises:
            MalformedRequest: not a JSON object with `model` and `messages` as OpenAI defines them.
        """
        try:
            text = body.decode()
            values, spans = members(text)
        except RecursionError:
            raise MalformedRequest("the body is nested too deeply") from None
        except ValueError as error:
            raise MalformedRequest(f"the body is not a JSON object: {error}") from None
        model = to or values.get("model")
        if not isinstance(model, str) or not model:
            raise MalformedRequest("`model` says who is asked: `profile@peer`, or `all@group`", param="model")
        messages = values.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(entry, dict) for entry in messages):
            raise MalformedRequest("`messages` must be a list of message objects, and not empty", param="messages")
        return cls(model, is_true(values.get("stream")), parse_options(values.get("switchboard")), text, spans)

    @property
    def messages_json(self) -> bytes:
        """The messages in the client's own words."""
        begin, end = self._spans["messages"]
        return self._text[begin:end].encode()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages, each with `role` and `content`."""
        found: list[dict[str, Any]] = json.loads(self.messages_json)
        return found

    @property
    def question(self) -> str:
        """The text of the last message of the user."""
        return next((text_of(message) for message in reversed(self.messages) if message.get("role") == "user"), "")

    def for_peer(self, model: str, messages: Sequence[Mapping[str, Any]] | None = None) -> bytes:
        """The same request, asking `model`, as a stream; with other messages where some are given."""
        edits = {}
        added = ""
        if "model" in self._spans:
            edits[self._spans["model"]] = json.dumps(model)
        else:
            added = f'"model":{json.dumps(model)},'
        if not self.is_stream and "stream" in self._spans:
            edits[self._spans["stream"]] = "true"
        elif not self.is_stream:
            added += '"stream":true,'
        if messages is not None:
            edits[self._spans["messages"]] = json.dumps(messages)
        if added:
            begin = self._text.index("{") + 1
            edits[begin, begin] = added
        text = self._text
        for (begin, end), value in sorted(edits.items(), reverse=True):
            text = text[:begin] + value + text[end:]
        return text.encode()


def text_of(message: Mapping[str, Any]) -> str:
    """What a message says, without its pictures."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        return "\n".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def is_true(value: object) -> bool:
    """Whether an agent takes this for true."""
    return value is True or str(value).lower() in _TRUE


def members(text: str) -> tuple[dict[str, Any], dict[str, tuple[int, int]]]:
    """The members of a JSON object and where each value stands; a key that is there twice is refused."""
    decoder = json.JSONDecoder()
    values: dict[str, Any] = {}
    spans: dict[str, tuple[int, int]] = {}

    def skip(position: int) -> int:
        match = _BLANK.match(text, position)
        return match.end() if match else position

    def expect(position: int, characters: str) -> str:
        found = text[position : position + 1]
        if not found or found not in characters:
            raise ValueError(f"expected {' or '.join(characters)} at character {position}")
        return found

    position = skip(0)
    expect(position, "{")
    position = skip(position + 1)
    while text[position : position + 1] != "}":
        expect(position, '"')
        key, position = scanstring(text, position + 1)
        if key in values:
            raise ValueError(f"{key!r} is there twice")
        position = skip(position)
        expect(position, ":")
        begin = skip(position + 1)
        values[key], end = decoder.raw_decode(text, begin)
        spans[key] = begin, end
        position = skip(end)
        if expect(position, ",}") == ",":
            position = skip(position + 1)
            expect(position, '"')
    if skip(position + 1) != len(text):
        raise ValueError("there is more after its end")
    return values, spans


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """Progress of a tool, as the peer tells it: `tool`, `toolCallId`, `status`, …"""

    progress: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Finish:
    """The last chunk of an answer. `failure` is the peer's own text where its turn failed."""

    reason: str
    usage: dict[str, Any] | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Quiet:
    """Comments, the role, the end mark, events that are new to us: nothing to show."""


PeerEvent = Text | Tool | Finish | Quiet
QUIET = Quiet()
TOOL_EVENT = b"hermes.tool.progress"


def read_frame(frame: bytes) -> PeerEvent:
    """What one frame of a peer's chat stream says. What is no JSON object there says nothing."""
    event, value = _read(frame)
    if value is None:
        return QUIET
    if event == TOOL_EVENT:
        return Tool(value)
    if event:
        return QUIET
    choices = value.get("choices") or [{}]
    choice = choices[0]
    reason = choice.get("finish_reason")
    failure = _failure(value, reason)
    if reason or failure is not None:
        return Finish(reason or "error", value.get("usage"), failure)
    text = (choice.get("delta") or {}).get("content")
    return Text(text) if text else QUIET


def _read(frame: bytes) -> tuple[bytes, dict[str, Any] | None]:
    """Event name and JSON object of a frame."""
    if frame.startswith(b"data: {") and frame.count(b"\n") == 2:  # nearly every frame of a stream
        event, data = b"", frame[6:]
    else:
        event, data = sse.fields(frame)
    try:
        value = lenient_json.loads(data)
    except ValueError:
        return event, None
    return event, value if isinstance(value, dict) else None


def _failure(value: dict[str, Any], reason: str | None) -> str | None:
    """The peer's words for a failed turn. `completed` alone does not tell (hermes-agent 0.19.0)."""
    hermes = value.get("hermes") or {}
    error = value.get("error")
    if reason != "error" and not hermes.get("failed") and not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message or hermes.get("error") or "the agent does not say why")


def says_that_it_failed(frame: bytes) -> bool:
    """Whether a frame reports a failed turn; looks closely only where the bytes hint at it."""
    if b'"error"' not in frame and b'"hermes"' not in frame:
        return False
    event = read_frame(frame)
    return isinstance(event, Finish) and event.failure is not None


def is_done(frame: bytes) -> bool:
    """Whether this frame is the mark after which nothing comes."""
    return frame.startswith(b"data:") and frame[5:].strip() == b"[DONE]"


def whole_of(text: str, end: Mapping[str, Any]) -> dict[str, Any]:
    """The `chat.completion` that the agent would have sent to a client that does not stream.

    `end` is the data of the event that ended the lane; members as hermes-agent 0.19.0 orders them.
    """
    message = {"role": "assistant", "content": text}
    return {
        "id": None,
        "object": "chat.completion",
        "created": None,
        "model": None,
        **end.get("completion", {}),
        "choices": [{"index": 0, "message": message, "finish_reason": end.get("finish_reason", "stop")}],
        "usage": end.get("usage"),
    }


def head_of(frame: bytes) -> dict[str, Any]:
    """Id, time and model of the first chunk."""
    event, value = _read(frame)
    if event or value is None:
        return {}
    return {name: value[name] for name in ("id", "created", "model") if name in value}
