import asyncio

import pytest
from doubles.upstream import Conversation, always, one_by_one, upstream


async def connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port)


async def test_it_reads_requests_with_either_framing_and_answers_each() -> None:
    async with upstream(always(b"HTTP/1.1 204 No Content\r\n\r\n")) as up, asyncio.timeout(10):
        reader, writer = await connect(up.port)
        writer.write(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 204 No Content\r\n\r\n"
        writer.write(b"PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await up.conversations[0].peer_left()
    assert [(one.method, one.target, one.body) for one in up.requests] == [
        ("POST", "/a", b"abc"),
        ("PUT", "/b", b"def"),
    ]
    assert up.requests[0]["host"] == "x"
    assert not up.conversations[0].was_reset


async def test_it_pauses_where_its_script_waits() -> None:
    released = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.head()
        await conversation.write(b"first")
        await released.wait()
        await conversation.write(b"second")
        await conversation.close()

    async with upstream(script) as up, asyncio.timeout(10):
        reader, writer = await connect(up.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.readexactly(5) == b"first"
        released.set()
        assert await reader.read() == b"second"
        writer.close()


async def test_it_tells_a_reset_from_a_clean_close() -> None:
    async def reset(conversation: Conversation) -> None:
        conversation.abort()

    async with upstream(one_by_one(always(b""), reset)) as up:
        _, writer = await connect(up.port)
        leaving = await up.connected()
        started = asyncio.get_running_loop().time()
        writer.close()
        await leaving.peer_left()
        assert leaving.left_at is not None
        assert leaving.left_at >= started
        reader, writer = await connect(up.port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_a_failing_script_fails_the_test() -> None:
    async def script(conversation: Conversation) -> None:
        raise ValueError("wrong")

    with pytest.raises(ExceptionGroup) as caught:
        async with upstream(script) as up:
            reader, writer = await connect(up.port)
            await asyncio.gather(reader.read(), return_exceptions=True)
            writer.close()
    assert caught.group_contains(ValueError)
