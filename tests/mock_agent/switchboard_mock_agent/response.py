"""The shapes of one answer of `/v1/responses`, as hermes-agent 0.19.0 sends them; members in its order. Pure."""

import secrets
import time
from collections.abc import Iterator
from typing import Any

from .completion import NO_USAGE, frame
from .work import Failed, Finished, Step, Text, ToolCompleted, ToolStarted, Usage

Item = dict[str, Any]


class Response:
    """It takes the steps of a turn: `frames` where it is streamed, `note` where it is told at its end."""

    def __init__(self, model: str) -> None:
        self.id = f"resp_{secrets.token_hex(14)}"
        self._model = model
        self._created = int(time.time())
        self._items: list[Item] = []
        self._text = ""
        self._message = f"msg_{secrets.token_hex(12)}"
        self._call: Item = {}
        self._sequence = 0

    def envelope(self, status: str, usage: Usage | None = None) -> dict[str, Any]:
        """The object as it is stored: with what there is so far, and `usage` once it is over."""
        head = {"id": self.id, "object": "response", "status": status, "created_at": self._created}
        told = {**head, "model": self._model, "output": self._output(is_over=usage is not None)}
        if usage is not None:
            total = usage.prompt + usage.completion
            told["usage"] = {"input_tokens": usage.prompt, "output_tokens": usage.completion, "total_tokens": total}
        return told

    def note(self, step: Step) -> None:
        """Take a step of a turn that does not stream."""
        match step:
            case ToolStarted():
                self._items.append(_call(step))
            case ToolCompleted():
                self._items.append({"type": "function_call_output", "call_id": step.call, "output": step.output})
            case Failed() | Finished():
                self._text = step.text

    def created(self) -> bytes:
        """The first frame of a stream."""
        return self._event("response.created", response=self.envelope("in_progress"))

    def frames(self, step: Step) -> Iterator[bytes]:
        """The frames for a step."""
        match step:
            case ToolStarted():
                self._call = {"id": f"fc_{secrets.token_hex(12)}", "type": "function_call", "status": "in_progress"}
                self._call |= {"name": step.tool, "call_id": step.call, "arguments": step.arguments}
                yield self._item("added", self._call)
                self._items.append(_call(step))
            case ToolCompleted():
                yield self._item("done", {**self._call, "status": "completed"}, index=len(self._items) - 1)
                yield from self._result(step)
            case Text(piece):
                yield from self._delta(piece)
            case Failed():
                yield from self._delta(step.text)
                yield from self._done(NO_USAGE)
            case Finished():
                yield from self._done(step.usage)

    def _result(self, step: ToolCompleted) -> Iterator[bytes]:
        told: Item = {"type": "function_call_output", "call_id": step.call}
        told["output"] = [{"type": "input_text", "text": step.output}]
        item = {"id": f"fco_{secrets.token_hex(12)}", **told, "status": "completed"}
        yield self._item("added", item)
        yield self._item("done", item)
        self._items.append(told)

    def _delta(self, piece: str) -> Iterator[bytes]:
        if not self._text:
            item = {"id": self._message, "type": "message", "status": "in_progress", "role": "assistant"}
            yield self._item("added", {**item, "content": []})
        self._text += piece
        yield self._event("response.output_text.delta", **self._place(), delta=piece, logprobs=[])

    def _done(self, usage: Usage) -> Iterator[bytes]:
        yield self._event("response.output_text.done", **self._place(), text=self._text, logprobs=[])
        item = {"id": self._message, "type": "message", "status": "completed", "role": "assistant"}
        yield self._item("done", {**item, "content": [{"type": "output_text", "text": self._text}]})
        yield self._event("response.completed", response=self.envelope("completed", usage))

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._message, "output_index": len(self._items), "content_index": 0}

    def _output(self, *, is_over: bool) -> list[Item]:
        if not is_over:
            return []
        told = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": self._text}]}
        return [*self._items, told] if self._text else [*self._items]

    def _item(self, what: str, item: Item, *, index: int | None = None) -> bytes:
        place = len(self._items) if index is None else index
        return self._event(f"response.output_item.{what}", output_index=place, item=item)

    def _event(self, name: str, **members: Any) -> bytes:
        told = frame({"type": name, **members, "sequence_number": self._sequence}, event=name)
        self._sequence += 1
        return told


def _call(step: ToolStarted) -> Item:
    return {"type": "function_call", "name": step.tool, "arguments": step.arguments, "call_id": step.call}
