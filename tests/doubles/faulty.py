"""A stretch of network that can fail: bytes cross it unchanged until a fault is in force, and it knows what crossed.

It stands before an upstream on loopback. Ends cross as they come: a FIN as a FIN, a reset as a reset.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from struct import pack
from typing import Literal, Self

LOOPBACK = "127.0.0.1"
_READ_BYTES = 65536
_BACKLOG = 512
_RESET = pack("ii", 1, 0)

Way = Literal["asked", "answered"]
Kind = Literal["refuse", "turn_away", "reset", "close", "half_close", "blackhole", "delay", "drip"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong as long as it is in force.

    refuse      nobody listens: connects are refused
    turn_away   connects are taken and reset at once
    reset       the byte behind the first `after` of this way does not cross: both sides are reset
    close       the same, but both sides see an end in good order
    half_close  the same, but only this way ends: its receiver sees the end, the other way goes on
    blackhole   from that byte on nothing crosses either way, no end either; after `seconds` both sides are reset
    delay       each piece crosses `seconds` late
    drip        `after` bytes cross at a time, `seconds` apart

    Bytes are counted for each connection from the moment that the fault came into force. When it heals, connections
    that it broke stay broken; what a blackhole, a delay or a drip holds crosses at once.
    """

    kind: Kind
    way: Way = "asked"
    after: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class Direction:
    """One way of one connection: what came in, and what of it went out again."""

    came: bytes = b""
    crossed: bytes = b""
    is_shut: bool = False
    """Nothing crosses any more."""
    arrivals: list[tuple[int, float]] = field(default_factory=list)
    """Behind how many bytes each piece came, and when, in the event loop's time."""

    def came_at(self, offset: int) -> float:
        """When the byte behind so many others came in."""
        return next(at for begin, at in reversed(self.arrivals) if begin <= offset)


@dataclass(slots=True, eq=False)
class Crossing:
    """One connection."""

    asked: Direction = field(default_factory=Direction)
    answered: Direction = field(default_factory=Direction)
    is_over: bool = False
    dark: "tuple[_InForce, float] | None" = None
    """The blackhole that it is in, and the time of the event loop until which at most."""


class _InForce:
    """A fault at work."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.healed = asyncio.Event()
        self.began: dict[Direction, int] = {}

    def room(self, direction: Direction) -> int:
        """How many bytes may still cross this way."""
        return self.began.setdefault(direction, len(direction.crossed)) + self.fault.after - len(direction.crossed)

    async def healed_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.healed.wait()
        return self.healed.is_set()


class _Ended(Exception):
    """A fault ends the connection."""

    def __init__(self, *, in_good_order: bool) -> None:
        super().__init__()
        self.in_good_order = in_good_order


class Faulty:
    """A context manager that listens at `port` of loopback and leads to `upstream_port`."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.crossings: list[Crossing] = []
        self._in_force: list[_InForce] = []
        self._listener: asyncio.Server | None = None
        self._turning = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        # Bound and never listening: it keeps the port ours while connects are refused.
        self._claim = _bound(0)
        self.port = self._claim.getsockname()[1]
        await self._listen_or_refuse()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        self._claim.close()
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def suffering(self, fault: Fault) -> AsyncIterator[None]:
        """Let this go wrong in this block. Of several faults the newest is in force, and refusing goes with any."""
        in_force = _InForce(fault)
        self._in_force.append(in_force)
        await self._listen_or_refuse()
        try:
            yield
        finally:
            self._in_force.remove(in_force)
            in_force.healed.set()
            await self._listen_or_refuse()

    def forget(self) -> None:
        """Drop the record of connections that are over."""
        self.crossings = [crossing for crossing in self.crossings if not crossing.is_over]

    async def _listen_or_refuse(self) -> None:
        async with self._turning:
            refuses = any(in_force.fault.kind == "refuse" for in_force in self._in_force)
            if refuses:
                self._stop_listening()
            elif self._listener is None:
                self._listener = await asyncio.start_server(self._accept, sock=_bound(self.port), backlog=_BACKLOG)

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        crossing = Crossing()
        self.crossings.append(crossing)
        ends = [writer]
        in_good_order = False
        try:
            if not any(in_force.fault.kind == "turn_away" for in_force in self._in_force):
                from_upstream, to_upstream = await asyncio.open_connection(LOOPBACK, self.upstream_port)
                ends.append(to_upstream)
                for end in ends:
                    end.transport.set_write_buffer_limits(0)  # what has crossed has left: no reset takes it back
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(self._pump(crossing, crossing.asked, reader, to_upstream))
                    ways.create_task(self._pump(crossing, crossing.answered, from_upstream, writer))
                in_good_order = True
        except* OSError:
            pass  # one side has reset its end, or there is no upstream
        except* _Ended as ended:
            in_good_order = all(each.in_good_order for each in ended.exceptions if isinstance(each, _Ended))
        finally:
            crossing.is_over = True
            for end in ends:
                _close(end, in_good_order=in_good_order)

    async def _pump(
        self, crossing: Crossing, direction: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await reader.read(_READ_BYTES):
                direction.arrivals.append((len(direction.came), asyncio.get_running_loop().time()))
                direction.came += data
                while data and not direction.is_shut:
                    data = await self._pass(crossing, direction, data, writer)
        except ConnectionError:
            await self._light(crossing)
            raise
        await self._light(crossing)
        if not direction.is_shut:
            direction.is_shut = True
            writer.write_eof()

    async def _pass(self, crossing: Crossing, direction: Direction, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Let some of it cross, as the fault in force has it; gives the rest."""
        await self._light(crossing)
        in_force = self._in_force[-1] if self._in_force else None
        fault = in_force.fault if in_force else None
        size = len(data)
        if in_force is not None and fault is not None:
            if fault.kind == "delay":
                await in_force.healed_within(fault.seconds)
            elif fault.kind == "drip":
                await in_force.healed_within(fault.seconds)
                size = max(1, fault.after)
            elif fault.kind in _AT_A_BYTE and direction is getattr(crossing, fault.way):
                size = in_force.room(direction)
                if size <= 0:
                    self._fail(in_force, crossing, direction, writer)
                    return data
        writer.write(data[:size])
        await writer.drain()
        direction.crossed += data[:size]
        return data[size:]

    @staticmethod
    def _fail(in_force: _InForce, crossing: Crossing, direction: Direction, writer: asyncio.StreamWriter) -> None:
        """Do what the fault does at its byte."""
        match in_force.fault.kind:
            case "half_close":
                direction.is_shut = True
                writer.write_eof()
            case "blackhole":
                crossing.dark = in_force, asyncio.get_running_loop().time() + in_force.fault.seconds
            case kind:
                raise _Ended(in_good_order=kind == "close")

    @staticmethod
    async def _light(crossing: Crossing) -> None:
        """Wait until the connection is in no blackhole."""
        if crossing.dark is None:
            return
        in_force, until = crossing.dark
        if not await in_force.healed_within(until - asyncio.get_running_loop().time()):
            raise _Ended(in_good_order=False)
        crossing.dark = None


_AT_A_BYTE = ("reset", "close", "half_close", "blackhole")


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((LOOPBACK, port))
    bound.setblocking(False)
    return bound


def _close(writer: asyncio.StreamWriter, *, in_good_order: bool) -> None:
    if in_good_order:
        writer.close()
        return
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
