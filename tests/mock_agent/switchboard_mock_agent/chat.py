"""The shapes of chat completions as hermes-agent 0.19.0 sends them; members in its order. Pure."""

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PIECE_CHARACTERS = 8
TEXT_LIMIT_CHARACTERS = 65_536
DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"


class Refused(Exception):
    """The agent answers 400 with this error object."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.error = {"message": message, "type": "invalid_request_error", **more}


def last_user_text(messages: object) -> str:
    """What the user asks.

    Raises:
        Refused: there is nothing to answer.
        TypeError: a message is no object (the real one answers 500).
    """
    if not isinstance(messages, list) or not messages:
        raise Refused("Missing or invalid 'messages' field")
    if not all(isinstance(message, dict) for message in messages):
        raise TypeError("a message is no object")
    asked = [_text(index, message) for index, message in enumerate(messages) if message.get("role") == "user"]
    if not asked or not asked[-1].strip():
        raise Refused("No user message found in messages")
    return asked[-1]


def _text(index: int, message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content[:TEXT_LIMIT_CHARACTERS]
    texts = []
    for part in content if isinstance(content, list) else []:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(str(part.get("text", ""))[:TEXT_LIMIT_CHARACTERS])
        elif kind not in ("image_url", "input_image"):
            raise Refused(
                f"Unsupported content part type '{kind}'. Only text and image_url/input_image parts are supported.",
                param=f"messages[{index}].content",
                code="unsupported_content_type",
            )
    return "\n".join(texts)


def session_id(messages: Sequence[Mapping[str, Any]]) -> str:
    """The id of a session that the client did not name."""
    system = "\n".join(str(message.get("content")) for message in messages if message.get("role") == "system")
    first = next(str(message.get("content")) for message in messages if message.get("role") == "user")
    return "api-" + hashlib.sha256(f"{system}\n{first}".encode()).hexdigest()[:16]


def usage(asked: str, answer: str) -> dict[str, int]:
    """Words stand for tokens; a real agent counts its own long prompt too."""
    prompt, completion = 900 + len(asked.split()), len(answer.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def failure(words: str) -> dict[str, Any]:
    """The `hermes` object of a turn that failed."""
    return {"completed": False, "partial": False, "failed": True, "error": words, "error_code": "agent_error"}


class Completion:
    """One answer: `model` is echoed, never looked at."""

    def __init__(self, model: str) -> None:
        self._id = "chatcmpl-" + secrets.token_hex(15)[:29]
        self._created = int(time.time())
        self._model = model

    def whole(self, text: str, reason: str, used: Mapping[str, int], **more: Any) -> dict[str, Any]:
        """The answer to a client that does not stream."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": used, **more}

    def role(self) -> bytes:
        """The first frame of a stream."""
        return self._chunk({"role": "assistant"})

    def texts(self, text: str) -> Iterator[bytes]:
        """A frame for each piece of text."""
        for begin in range(0, len(text), PIECE_CHARACTERS):
            yield self._chunk({"content": text[begin : begin + PIECE_CHARACTERS]})

    def last(self, reason: str, used: Mapping[str, int], **more: Any) -> bytes:
        """The frame before the end mark."""
        return self._chunk({}, reason, usage=used, **more)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _chunk(self, delta: Mapping[str, str], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return frame({**self._head("chat.completion.chunk"), "choices": [choice], **more})


def tool_frames(name: str, arguments: str) -> tuple[bytes, bytes]:
    """What a stream shows of a tool: it runs, it has run."""
    call = {"toolCallId": "call_" + secrets.token_hex(4)}
    label = str(json.loads(arguments).get("command", name))
    running = {"tool": name, "emoji": "\N{PERSONAL COMPUTER}", "label": label, **call, "status": "running"}
    completed = {"tool": name, **call, "status": "completed"}
    return frame(running, event="hermes.tool.progress"), frame(completed, event="hermes.tool.progress")


def frame(value: Mapping[str, Any], *, event: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()
