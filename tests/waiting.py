"""Waiting for a condition, to a deadline."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float) -> None:
    """Return once `condition` holds; TimeoutError when it does not within `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        if loop.time() > deadline:
            raise TimeoutError(f"waited {seconds:g} s")
        await asyncio.sleep(0.02)
