"""The faulty stretch of network does what each of its faults says, and heals."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from doubles.faulty import Fault, Faulty
from doubles.raw_client import RawClient
from doubles.upstream import Upstream, Visit
from waiting import until

SECONDS = 5.0
LONG = 30.0


class Client(RawClient):
    def end(self) -> None:
        """Say that nothing more comes."""
        self._writer.write_eof()


async def echo(visit: Visit) -> None:
    """Say `>` and everything once more; end when the other side ends."""
    while data := await visit.some():
        await visit.send(b">" + data)
    visit.end()


@asynccontextmanager
async def echoing() -> AsyncIterator[tuple[Faulty, Upstream]]:
    async with Upstream(echo) as upstream, Faulty(upstream.port) as link:
        yield link, upstream


async def test_bytes_and_ends_cross_unchanged_and_are_on_record() -> None:
    async with echoing() as (link, _), Client(link.port) as client:
        client.send(b"hello")
        assert await client.exactly(6) == b">hello"
        [crossing] = link.crossings
        assert (crossing.asked.came, crossing.asked.crossed) == (b"hello", b"hello")
        assert (crossing.answered.came, crossing.answered.crossed) == (b">hello", b">hello")
        assert not crossing.is_over
        assert 0 <= asyncio.get_running_loop().time() - crossing.asked.came_at(0) < SECONDS
        client.send(b" there")
        await client.exactly(7)
        assert crossing.asked.came_at(4) < crossing.asked.came_at(5)
        client.end()
        assert await client.rest() == b""
        await until(lambda: crossing.is_over, seconds=SECONDS)
        link.forget()
        assert link.crossings == []


async def test_a_client_that_leaves_is_gone_for_the_upstream_and_a_reset_crosses_as_one() -> None:
    async with echoing() as (link, upstream):
        for leave in (RawClient.leave, RawClient.reset):
            async with Client(link.port) as client:
                client.send(b"x")
                await client.exactly(2)
                leave(client)
                await upstream.visits[-1].left.wait()

    async def reset(visit: Visit) -> None:
        await visit.some()
        visit.reset()

    async with Upstream(reset) as upstream, Faulty(upstream.port) as link, Client(link.port) as client:
        client.send(b"x")
        with pytest.raises(ConnectionResetError):
            await client.exactly(1)


async def test_refusing_and_listening_again_at_the_same_port() -> None:
    async with echoing() as (link, _), Client(link.port) as before:
        async with link.suffering(Fault("refuse")):
            with pytest.raises(ConnectionRefusedError):
                await Client(link.port).__aenter__()
            before.send(b"old")
            assert await before.exactly(4) == b">old"
        async with Client(link.port) as client:
            client.send(b"new")
            assert await client.exactly(4) == b">new"
        assert len(link.crossings) == 2


async def test_refusals_that_overlap_heal_with_the_last_of_them() -> None:
    async with echoing() as (link, _):
        first, second = link.suffering(Fault("refuse")), link.suffering(Fault("refuse"))
        await asyncio.gather(first.__aenter__(), second.__aenter__())
        await first.__aexit__(None, None, None)
        with pytest.raises(ConnectionRefusedError):
            await Client(link.port).__aenter__()
        third = link.suffering(Fault("refuse"))
        await third.__aenter__()
        await asyncio.gather(second.__aexit__(None, None, None), third.__aexit__(None, None, None))
        async with Client(link.port) as client:
            client.send(b"hello")
            assert await client.exactly(6) == b">hello"


async def test_an_upstream_that_is_not_there_resets_the_connection() -> None:
    async with Faulty(9) as link, Client(link.port) as client:
        with pytest.raises(ConnectionResetError):
            await client.exactly(1)


async def test_turning_away() -> None:
    async with echoing() as (link, upstream):
        async with link.suffering(Fault("turn_away")), Client(link.port) as client:
            with pytest.raises(ConnectionResetError):
                await client.exactly(1)
        assert upstream.visits == []


@pytest.mark.parametrize("after", [0, 3])
async def test_a_reset_of_what_is_asked_lets_so_many_bytes_pass(after: int) -> None:
    async with echoing() as (link, _), link.suffering(Fault("reset", "asked", after)), Client(link.port) as client:
        client.send(b"hello")
        with pytest.raises(ConnectionResetError):
            await client.exactly(100)
        [crossing] = link.crossings
        assert (crossing.asked.came, crossing.asked.crossed) == (b"hello", b"hello"[:after])
        await until(lambda: crossing.is_over, seconds=SECONDS)


@pytest.mark.parametrize("after", [0, 3])
async def test_a_reset_of_what_is_answered_loses_none_of_the_bytes_before_it(after: int) -> None:
    async with (
        echoing() as (link, upstream),
        link.suffering(Fault("reset", "answered", after)),
        Client(link.port) as client,
    ):
        client.send(b"hello")
        assert await client.exactly(after) == b">hello"[:after]
        with pytest.raises(ConnectionResetError):
            await client.exactly(1)
        [crossing] = link.crossings
        assert crossing.asked.crossed == b"hello"
        assert (crossing.answered.came, crossing.answered.crossed) == (b">hello", b">hello"[:after])
        await upstream.visits[0].left.wait()


async def test_bytes_count_from_when_the_fault_came() -> None:
    async with echoing() as (link, _), Client(link.port) as client:
        client.send(b"hello")
        await client.exactly(6)
        async with link.suffering(Fault("close", "answered", after=2)):
            client.send(b"again")
            assert await client.rest() == b">a"


@pytest.mark.parametrize("way", ["asked", "answered"])
async def test_closing_ends_both_sides_in_good_order(way: str) -> None:
    async with echoing() as (link, upstream):
        fault = Fault("close", "asked" if way == "asked" else "answered", after=1)
        async with link.suffering(fault), Client(link.port) as client:
            client.send(b"hello")
            with pytest.raises(asyncio.IncompleteReadError):
                await client.exactly(100)
            await upstream.visits[0].left.wait()


async def test_half_closing_ends_one_way_alone() -> None:
    async def count(visit: Visit) -> None:
        size = 0
        while data := await visit.some():
            size += len(data)
        await visit.send(b"%d" % size)
        visit.end()

    async with (
        Upstream(count) as upstream,
        Faulty(upstream.port) as link,
        link.suffering(Fault("half_close", "asked", after=3)),
        Client(link.port) as client,
    ):
        client.send(b"hello")
        assert await client.rest() == b"3"
        assert link.crossings[0].asked.came == b"hello"


async def test_what_a_blackhole_holds_crosses_when_it_heals() -> None:
    async with echoing() as (link, upstream), Client(link.port) as client:
        async with link.suffering(Fault("blackhole", "asked", after=2, seconds=LONG)):
            client.send(b"hello")
            await until(lambda: bool(link.crossings[0].dark), seconds=SECONDS)
            client.send(b" there")
            client.end()
            await until(lambda: bool(link.crossings[0].answered.came), seconds=SECONDS)
            assert link.crossings[0].asked.crossed == b"he"
            assert link.crossings[0].answered.crossed == b""
            assert not upstream.visits[0].left.is_set()
        assert (await client.rest()).replace(b">", b"") == b"hello there"


async def test_a_blackhole_that_does_not_heal_ends_in_a_reset() -> None:
    async with (
        echoing() as (link, upstream),
        Client(link.port) as client,
        link.suffering(Fault("blackhole", "answered", seconds=0.05)),
    ):
        client.send(b"hello")
        with pytest.raises(ConnectionResetError):
            await client.exactly(1)
        await upstream.visits[0].left.wait()


async def test_no_end_crosses_a_blackhole() -> None:
    async with echoing() as (link, upstream), Client(link.port) as client:
        async with link.suffering(Fault("blackhole", "answered", seconds=LONG)):
            client.send(b"hello")
            await until(lambda: bool(link.crossings[0].dark), seconds=SECONDS)
            client.reset()
            await asyncio.sleep(0.05)  # as good as never: that nothing happens has no condition to wait for
            assert not upstream.visits[0].left.is_set()
        await upstream.visits[0].left.wait()


async def test_a_link_ends_with_connections_in_the_dark() -> None:
    async with (
        echoing() as (link, _),
        Client(link.port) as client,
        link.suffering(Fault("blackhole", "answered", seconds=LONG)),
    ):
        client.send(b"hello")
        await until(lambda: bool(link.crossings[0].dark), seconds=SECONDS)
        async with asyncio.timeout(SECONDS):
            await link.__aexit__()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await client.exactly(1)


async def test_a_delay_holds_each_piece_and_heals_at_once() -> None:
    async with echoing() as (link, _), Client(link.port) as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with link.suffering(Fault("delay", seconds=0.1)):
            client.send(b"hello")
            await client.exactly(6)
            assert loop.time() - began >= 0.19  # there and back
        async with link.suffering(Fault("delay", seconds=LONG)):
            client.send(b"hello")
            await until(lambda: link.crossings[0].asked.came == b"hellohello", seconds=SECONDS)
        assert await client.exactly(6) == b">hello"


async def test_a_drip_lets_some_bytes_cross_at_a_time() -> None:
    async with echoing() as (link, _), Client(link.port) as client:
        async with link.suffering(Fault("drip", after=2, seconds=0.001)):
            client.send(b"hello")
            assert await client.exactly(8) == b">he>ll>o"
        async with link.suffering(Fault("drip", after=1, seconds=LONG)):
            client.send(b"hello")
            await until(lambda: link.crossings[0].asked.came == b"hellohello", seconds=SECONDS)
        assert (await client.exactly(6)).endswith(b"o")


async def test_of_several_faults_the_newest_is_in_force_and_the_older_one_comes_back() -> None:
    async with echoing() as (link, _), Client(link.port) as client, link.suffering(Fault("close", "answered")):
        async with link.suffering(Fault("drip", after=9, seconds=0.001)):
            client.send(b"hello")
            assert await client.exactly(6) == b">hello"
        client.send(b"hello")
        assert await client.rest() == b""
