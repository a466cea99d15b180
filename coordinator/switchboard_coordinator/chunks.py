"""Chunks of a group's answer, as OpenAI's clients read them. Pure."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

import orjson

from . import sse
from .address import Address
from .chat import TOOL_EVENT, Answers
from .errors import SwitchboardError
from .fanout import Arrangement, Choices, Delta, Ended, LaneResult, Progress, Sections, TurnEvent, summed_usage


def arrangement(answers: Answers, lanes: Sequence[Address]) -> Arrangement:
    """How the client wants the lanes' answers put together."""
    return Choices(lanes) if answers == "choices" else Sections(lanes)


def error_frame(error: SwitchboardError) -> bytes:
    """Ends a stream that had begun; no end mark follows it."""
    return sse.frame(orjson.dumps(error.envelope()))


class Completion:
    """One `chat.completion` with several lanes in it: its chunks, or the whole."""

    def __init__(self, model: str, answers: Answers, lanes: Sequence[Address]) -> None:
        self._head = {
            "id": "chatcmpl-" + secrets.token_hex(15)[:29],
            "created": int(time.time()),
            "model": model,
        }
        self._lanes = lanes
        self._choices = len(lanes) if answers == "choices" else 1
        self._texts: list[list[str]] = [[] for _ in range(self._choices)]
        self._reasons = ["stop"] * self._choices
        self._left = self._choices

    def opening(self) -> list[bytes]:
        """The first frames: every choice's role; the first of them says which lane is which."""
        lanes = [{"index": index, "address": str(address)} for index, address in enumerate(self._lanes)]
        frames = [self._chunk(choice, {"role": "assistant"}) for choice in range(self._choices)]
        frames[0] = self._chunk(0, {"role": "assistant"}, switchboard={"lanes": lanes})
        return frames

    def frames(self, event: TurnEvent) -> list[bytes]:
        """What a client sees of one turn event; the last choice to end waits for `closing`."""
        self.note(event)
        match event:
            case Delta(choice, text):
                return [self._chunk(choice, {"content": text})]
            case Progress(_, address, progress):
                told = {**progress, "switchboard": {"address": str(address)}}
                return [sse.frame(orjson.dumps(told), event=TOOL_EVENT)]
            case Ended(choice, reason) if self._left > 0:
                return [self._chunk(choice, {}, finish_reason=reason)]
            case Ended(choice):
                self._last = choice
        return []

    def closing(self, results: Sequence[LaneResult]) -> list[bytes]:
        """The last chunk, with usage and what became of each lane, and the end mark."""
        ends = {"usage": summed_usage(results), "switchboard": {"lanes": [result.told() for result in results]}}
        return [self._chunk(self._last, {}, finish_reason=self._reasons[self._last], **ends), sse.DONE]

    def note(self, event: TurnEvent) -> None:
        """Remember what one turn event adds to the whole."""
        match event:
            case Delta(choice, text):
                self._texts[choice].append(text)
            case Ended(choice, reason):
                self._reasons[choice] = reason
                self._left -= 1

    def whole(self, results: Sequence[LaneResult]) -> dict[str, Any]:
        """The `chat.completion` object of everything noted."""
        choices = [
            {"index": index, "message": {"role": "assistant", "content": "".join(texts)}, "finish_reason": reason}
            for index, (texts, reason) in enumerate(zip(self._texts, self._reasons, strict=True))
        ]
        return {
            "id": self._head["id"],
            "object": "chat.completion",
            "created": self._head["created"],
            "model": self._head["model"],
            "choices": choices,
            "usage": summed_usage(results),
            "switchboard": {"lanes": [result.told() for result in results]},
        }

    def _chunk(self, choice: int, delta: dict[str, str], *, finish_reason: str | None = None, **more: object) -> bytes:
        value = {
            "id": self._head["id"],
            "object": "chat.completion.chunk",
            "created": self._head["created"],
            "model": self._head["model"],
            "choices": [{"index": choice, "delta": delta, "finish_reason": finish_reason}],
            **more,
        }
        return sse.frame(orjson.dumps(value))
