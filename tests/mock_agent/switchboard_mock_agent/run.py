"""One run of `/v1/runs`: its status as it is told, and its events, buffered until somebody reads them."""

import asyncio
import json
import time
from json.encoder import encode_basestring_ascii
from typing import TYPE_CHECKING, Any, Literal

from .work import Failed, Finished

if TYPE_CHECKING:
    from .record import Turn

End = Literal["closed", "cut"]


class Run:
    """What happens to it is told here; who reads takes from `feed`: frames, and in the end how the stream ends."""

    def __init__(self, run_id: str, session: str, model: str) -> None:
        self.id = run_id
        self.feed: asyncio.Queue[bytes | End] | None = asyncio.Queue()
        self.pending: asyncio.Future[str] | None = None
        """The question to a person that waits for its answer."""
        self.task: asyncio.Task[None] | None = None
        """As long as it runs."""
        self.turn: Turn
        now = time.time()
        self.status: dict[str, Any] = {"object": "hermes.run", "run_id": run_id, "status": "queued", "updated_at": now}
        self.status |= {"created_at": now, "session_id": session, "model": model}
        self._is_told = True
        self._delta = f'data: {{"event": "message.delta", "run_id": "{run_id}", "timestamp": '

    def be(self, status: str, **more: Any) -> None:
        """Its status from now on."""
        self.status |= {"status": status, "updated_at": time.time(), **more}

    def say(self, piece: str) -> None:
        """A piece of the answer. As in the real one, it is no `last_event`."""
        if self._is_told:
            self._put(f'{self._delta}{time.time()!r}, "delta": {encode_basestring_ascii(piece)}}}\n\n'.encode())

    def tell(self, event: str, first: dict[str, Any] | None = None, **more: Any) -> None:
        """Any other event; `first` are members that stand before its name."""
        self.status |= {"last_event": event, "updated_at": time.time()}
        if self._is_told:
            value = {**(first or {}), "event": event, "run_id": self.id, "timestamp": time.time(), **more}
            self._put(f"data: {json.dumps(value)}\n\n".encode())

    def stop_telling(self, end: End) -> None:
        """No more events: the stream ends so, after what is still unread."""
        if self._is_told:
            self._is_told = False
            self._put(end)

    def leave(self) -> None:
        """The reader is gone, and there is no second one."""
        self.feed, self._is_told = None, False

    def finish(self, step: Finished | Failed) -> None:
        """Its end, well or not."""
        if isinstance(step, Finished):
            prompt, completion = step.usage.prompt, step.usage.completion
            usage = {"input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion}
            self.tell("reasoning.available", text=step.text)
            self.tell("run.completed", output=step.text, usage=usage)
            self.be("completed", output=step.text, usage=usage)
        else:
            self.be("failed", error=step.error)
            self.tell("run.failed", error=step.error)
        self.over("closed")

    def over(self, end: End) -> None:
        """It runs no more."""
        self.task = self.pending = None
        self.stop_telling(end)

    def _put(self, entry: bytes | End) -> None:
        if self.feed is not None:
            self.feed.put_nowait(entry)
