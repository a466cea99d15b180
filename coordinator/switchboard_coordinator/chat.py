"""Chat completions: the request as a client sent it, and what a peer's frames say. Pure.

A peer gets the client's own bytes with nothing but `model` (and, for a client that does not stream, `stream`) replaced.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from . import lenient_json, sse
from .body import Body
from .errors import MalformedRequest
from .options import Options, parse_options

_TRUE = frozenset(("true", "1", "yes", "on"))  # what an agent takes for true (hermes-agent 0.19.0)


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One body of `POST /v1/chat/completions`."""

    model: str
    is_stream: bool
    options: Options
    _body: Body

    @classmethod
    def parse(cls, body: bytes, to: str | None = None) -> Self:
        """Read a body, keeping where each top-level value stands; `to` says who is asked in place of its `model`.

        Raises:
            MalformedRequest: not a JSON object with `model` and `messages` as OpenAI defines them.
        """
        read = Body.parse(body)
        values = read.values
        model = to or values.get("model")
        if not isinstance(model, str) or not model:
            raise MalformedRequest("`model` says who is asked: `profile@peer`, or `all@group`", param="model")
        messages = values.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(entry, dict) for entry in messages):
            raise MalformedRequest("`messages` must be a list of message objects, and not empty", param="messages")
        return cls(model, is_true(values.get("stream")), parse_options(values.get("switchboard")), read)

    @property
    def messages_json(self) -> bytes:
        """The messages in the client's own words."""
        return self._body.raw("messages")

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
        values: dict[str, object] = {"model": model}
        if not self.is_stream:
            values["stream"] = True
        if messages is not None:
            values["messages"] = messages
        return self._body.with_values(values)


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
