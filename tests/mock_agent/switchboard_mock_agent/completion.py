"""The shapes of chat completions as hermes-agent 0.19.0 sends them; members in its order. Pure."""

import json
import secrets
import time
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii
from typing import Any

from .work import ToolCompleted, ToolStarted, Usage

DONE = b"data: [DONE]\n\n"
NO_USAGE = Usage(0, 0)


def used(usage: Usage) -> dict[str, int]:
    """What a turn used, in the names of chat completions."""
    prompt, completion = usage.prompt, usage.completion
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def failure(words: str) -> dict[str, Any]:
    """The `hermes` object of a turn that failed."""
    return {"completed": False, "partial": False, "failed": True, "error": words, "error_code": "agent_error"}


class Completion:
    """One answer: `model` is echoed, never looked at."""

    def __init__(self, model: str) -> None:
        self._id = "chatcmpl-" + secrets.token_hex(15)[:29]
        self._created = int(time.time())
        self._model = model
        before, _, after = self._chunk({"content": "\0"}).partition(b'"\\u0000"')
        self._around = before, after

    def whole(self, text: str, reason: str, usage: Usage, **more: Any) -> dict[str, Any]:
        """The answer to a client that does not stream."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": used(usage), **more}

    def role(self) -> bytes:
        """The first frame of a stream."""
        return self._chunk({"role": "assistant"})

    def text(self, piece: str) -> bytes:
        """The frame for a piece of text: the frames of one answer differ in nothing else."""
        before, after = self._around
        return b"%b%b%b" % (before, encode_basestring_ascii(piece).encode(), after)

    def last(self, reason: str, usage: Usage, **more: Any) -> bytes:
        """The frame before the end mark."""
        return self._chunk({}, reason, usage=used(usage), **more)

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._model}

    def _chunk(self, delta: Mapping[str, str], reason: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return frame({**self._head("chat.completion.chunk"), "choices": [choice], **more})


def tool_frame(step: ToolStarted | ToolCompleted) -> bytes:
    """What a stream shows of a tool: it runs, it has run."""
    told: dict[str, str] = {"tool": step.tool}
    if isinstance(step, ToolStarted):
        told |= {"emoji": "\N{PERSONAL COMPUTER}", "label": step.label}
    told |= {"toolCallId": step.call, "status": "running" if isinstance(step, ToolStarted) else "completed"}
    return frame(told, event="hermes.tool.progress")


def frame(value: Mapping[str, Any], *, event: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(value)}\n\n".encode()
