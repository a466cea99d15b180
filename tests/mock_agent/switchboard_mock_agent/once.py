"""`Idempotency-Key`: the same key with the same question runs once, for whoever asks it next or meanwhile."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, TypeVar

KEPT = 1_000

Outcome = TypeVar("Outcome")


class Once(Generic[Outcome]):
    """Outcomes by key; another question under a known key simply runs. It owns the tasks, `close` ends them."""

    def __init__(self) -> None:
        self._tasks: dict[str, tuple[str, asyncio.Task[Outcome]]] = {}

    async def run(self, key: str, question: Mapping[str, Any], work: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """The outcome of `work`, or of the same that was asked before."""
        fingerprint = json.dumps(question)
        known, task = self._tasks.get(key, ("", None))
        if task is None or known != fingerprint:
            task = asyncio.ensure_future(_as_coroutine(work))
            self._tasks[key] = fingerprint, task
            while len(self._tasks) > KEPT:
                del self._tasks[next(iter(self._tasks))]
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End what still runs."""
        tasks = [task for _, task in self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _as_coroutine(work: Callable[[], Awaitable[Outcome]]) -> Outcome:
    return await work()
