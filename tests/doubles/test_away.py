"""A machine that does not answer a connect."""

import asyncio
import time

import pytest
from doubles.away import LOOPBACK, away


async def test_a_connect_is_neither_taken_nor_refused() -> None:
    with away() as port:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.open_connection(LOOPBACK, port)
        assert time.monotonic() - began >= 0.3


async def test_behind_its_block_the_port_is_free_and_who_still_knocks_is_heard() -> None:
    with away() as port:
        knocking = asyncio.create_task(asyncio.open_connection(LOOPBACK, port))
        await asyncio.sleep(0)
    taken = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.set()
        writer.close()

    async with await asyncio.start_server(take, LOOPBACK, port):
        await asyncio.wait_for(taken.wait(), 20)
        _, writer = await knocking
        writer.close()
