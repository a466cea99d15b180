"""Two connections joined after both sides agreed to speak another protocol: bytes pass as they come, both ways.

Nothing of the other protocol is read: WebSocket frames, pings, close codes and extensions are the two ends' own.
"""

import asyncio
from collections.abc import Callable
from typing import Self, cast

HIGH_WATER_BYTES = 64 * 1024
END_SECONDS = 5.0


class Tunnel(asyncio.Protocol):
    """One direction of the pair: what arrives on its connection is written to the other's.

    A side that ends ends the other one, behind what is still to be written to it.
    """

    __slots__ = ("_ended", "_other", "_passed", "_transport")

    def __init__(self, transport: asyncio.Transport, passed: Callable[[int], None], ended: Callable[[], None]) -> None:
        self._transport = transport
        self._other: Self
        self._passed = passed
        self._ended = ended

    @classmethod
    def join(
        cls,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        *,
        from_client: bytes,
        from_upstream: bytes,
        received: Callable[[int], None],
        sent: Callable[[int], None],
        ended: Callable[[], None],
    ) -> None:
        """Join two connections, with what each side has sent already.

        Args:
            client: the connection of who asked.
            upstream: the connection of who agreed.
            from_client: bytes that go upstream first.
            from_upstream: bytes that go to the client first.
            received: told of every number of bytes that come from the client.
            sent: told of every number of bytes that go to it.
            ended: told once, when the client's connection is gone.
        """
        near = cls(client, received, ended)
        far = cls(upstream, sent, lambda: None)
        near._other, far._other = far, near
        for side in (near, far):
            side._transport.set_write_buffer_limits(HIGH_WATER_BYTES)
            side._transport.set_protocol(side)
        if from_client:
            near.data_received(from_client)
        if from_upstream:
            far.data_received(from_upstream)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._other._transport.write(data)
        self._passed(len(data))

    def connection_lost(self, error: Exception | None) -> None:
        other = self._other._transport
        if not other.is_closing():
            other.resume_reading()
            other.close()
            asyncio.get_running_loop().call_later(END_SECONDS, other.abort)
        self._ended()

    def pause_writing(self) -> None:
        self._other._transport.pause_reading()

    def resume_writing(self) -> None:
        if not self._other._transport.is_closing():
            self._other._transport.resume_reading()
