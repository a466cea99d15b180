"""Sends cases through a proxy, many at once, and holds what came out behind it against what the strict reader reads."""

import asyncio
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from struct import pack
from typing import NamedTuple, cast

from waiting import until

from .passage import CREDENTIAL, HOST, Passage, Proxy
from .strict_reader import End, Reading, read
from .witness import Half, Witnesses

SETTLE_SECONDS = 20.0
"""A case that is neither answered nor closed by then is a finding."""
PROBES = 3
_ANSWER = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
"""An answer's head. Neither our upstreams' answers nor the proxy's own have a body that holds one."""
_SEEN = re.compile(rb"(?:^|\r\n)x-seen: ([0-9]+)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Case:
    """The bytes of one connection, as the segments in which they are sent.

    `HOST` stands for the proxy's own name. `crossing`: how many requests must come out, where that is told.
    """

    name: str
    segments: tuple[bytes, ...]
    crossing: int | None = None

    def __str__(self) -> str:
        cuts = [*accumulate(map(len, self.segments[:-1]))]
        return f"  {self.name}\n    {b''.join(self.segments)!r}\n    cut at {cuts}"

    def to(self, proxy: Proxy) -> list[bytes]:
        """The segments for this proxy, whose name may be cut in two like anything else."""
        whole = b"".join(self.segments).replace(HOST, proxy.host)
        ends = [*accumulate(map(len, self.segments))]
        return [whole[begin:end] for begin, end in pairwise((0, *ends))]


class Answer(NamedTuple):
    """One answer; `seen` is the number of the request that a witness answered, None where the proxy did."""

    status: int
    seen: int | None
    is_last: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that came out otherwise than it may, or several of which one did; or one that met with silence."""

    cases: tuple[Case, ...]
    why: str
    is_silence: bool = False

    def __str__(self) -> str:
        return "\n".join((self.why, *map(str, self.cases)))


@dataclass
class Shares:
    """How many cases came out, and how many were refused with nothing behind the proxy; the others wait for more."""

    cases: int = 0
    passed: int = 0
    refused: int = 0

    def __str__(self) -> str:
        if not self.cases:
            return "no cases"
        passed, refused = 100 * self.passed / self.cases, 100 * self.refused / self.cases
        return f"{self.cases} cases: {passed:.1f} % passed, {refused:.1f} % refused"


class _Client(asyncio.Protocol):
    """One case under way."""

    def __init__(self, case: Case, proxy: Proxy) -> None:
        self.case = case
        self.segments = case.to(proxy)
        self.reading: Reading = read(b"".join(self.segments))
        self.received = b""
        self.has_ended = self.has_sent = self._is_leaving = False
        self._settled = asyncio.Event()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.received += data
        self._look()

    def connection_lost(self, _: Exception | None) -> None:
        if not self._is_leaving:
            self.has_ended = True
            self._look()

    async def run(self, port: int, settle_seconds: float) -> None:
        """Send everything and wait until what must be answered is answered, or the connection is over."""
        loop = asyncio.get_running_loop()
        line = socket.socket()
        line.setblocking(False)
        # Reset at the end: a run opens more connections than there are ports for those that wait to be forgotten.
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, pack("ii", 1, 0))
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(line, ("127.0.0.1", port))
        await loop.create_connection(lambda: self, sock=line)
        for segment in self.segments:
            if self.has_ended:
                break
            self._transport.write(segment)
            await asyncio.sleep(0)
        self.has_sent = True
        self._look()
        with suppress(TimeoutError):
            async with asyncio.timeout(settle_seconds):
                await self._settled.wait()

    def leave(self) -> None:
        self._is_leaving = True
        self._transport.abort()

    @property
    def is_settled(self) -> bool:
        if self.has_ended:
            return True
        is_answered = self.reading.end is End.WAITING and len(self.answers) >= len(self.reading.requests)
        return self.has_sent and is_answered

    @property
    def answers(self) -> list[Answer]:
        """What was answered so far, but for interim answers."""
        answers = []
        for status, headers in _ANSWER.findall(self.received):
            seen = _SEEN.search(headers)
            if status[:1] != b"1":
                is_last = b"connection: close" in headers.lower()
                answers.append(Answer(int(status), int(seen[1]) if seen else None, is_last))
        return answers

    def _look(self) -> None:
        if self.is_settled:
            self._settled.set()


@dataclass
class Experiment:
    """Cases go to `proxy`; `witnesses` stand behind it. Findings are told as they are made, shares counted."""

    proxy: Proxy
    witnesses: Witnesses
    settle_seconds: float = SETTLE_SECONDS
    shares: Shares = field(default_factory=Shares)

    async def run(self, cases: Sequence[Case]) -> list[Finding]:
        """Send these at once. Where something came out that is no case's own, each is sent alone to find whose."""
        findings, loose = await self._send(cases)
        if not loose:
            return findings
        if len(cases) == 1:
            return [*findings, Finding(tuple(cases), loose)]
        shares, self.shares = self.shares, Shares()
        for case in cases:
            findings += await self.run([case])
        self.shares = shares
        return findings or [Finding(tuple(cases), f"one of these, sent together and not alone: {loose}")]

    async def _send(self, cases: Sequence[Case]) -> tuple[list[Finding], str]:
        witnesses = self.witnesses
        first, received = len(witnesses.seen), witnesses.received_bytes
        witnesses.halves.clear()
        witnesses.unread.clear()
        clients = [_Client(case, self.proxy) for case in cases]
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.run(self.proxy.port, self.settle_seconds))
        await self._let_it_come()
        for client in clients:
            client.leave()
        await until(lambda: not witnesses.under_way, seconds=SETTLE_SECONDS)
        findings, claimed = [], set()
        for client in clients:
            seen = [answer.seen for answer in client.answers if answer.seen is not None]
            claimed.update(seen)
            if (finding := self._judge(client)) is not None:
                findings.append(finding)
            self._count(client, has_crossed=bool(seen))
        loose = [
            f"nobody's: {witnesses.seen[number]}"
            for number in range(first, len(witnesses.seen))
            if number not in claimed
        ]
        loose += [f"nobody's half: {half}" for half in self._nobodys(witnesses.halves, clients)]
        loose += [f"the proxy wrote what is refused: {unread}" for unread in witnesses.unread]
        if not claimed and not witnesses.halves and witnesses.received_bytes != received:
            loose.append("bytes came out that belong to no request")
        return findings, "; ".join(loose)

    async def _let_it_come(self) -> None:
        """Give the proxy turns of its loop: what it was about to send when it answered last has then been sent."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)
        probe = b"GET /-/ready HTTP/1.1\r\nHost: %b\r\nAuthorization: %b\r\n\r\n" % (self.proxy.host, CREDENTIAL)
        async with asyncio.timeout(SETTLE_SECONDS):
            for _ in range(PROBES):
                writer.write(probe)
                await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    def _judge(self, client: _Client) -> Finding | None:
        """What is wrong with the answers that a case got; None where they are such as it may have."""
        reading = client.reading
        why = self._wrong_answer(reading, client.answers)
        crossed = sum(answer.seen is not None for answer in client.answers)
        if why is None and client.is_settled and client.case.crossing not in (None, crossed):
            why = f"{crossed} requests came out, {client.case.crossing} should"
        if why is None and not client.is_settled:
            return Finding((client.case,), f"neither answered nor closed: {reading.end.value} {reading.why}", True)
        return Finding((client.case,), f"{why}: {client.received!r}") if why is not None else None

    def _wrong_answer(self, reading: Reading, answers: Sequence[Answer]) -> str | None:
        for number, answer in enumerate(answers):
            if number and answers[number - 1].is_last:
                return "an answer behind the last one"
            if answer.status in (500, 502):
                return "a fault"
            if number >= len(reading.requests):
                # The proxy itself need not wait for the body of what it is asked, if it ends the connection then.
                is_refusal = answer.status >= 400 or (reading.begun is not None and answer.is_last)
                if answer.seen is not None or not is_refusal or number > len(reading.requests):
                    return f"an answer to what is no request: {answer}; {reading.end.value} {reading.why}"
            elif answer.seen is not None:
                wanted, got = self.proxy.passage(reading.requests[number]), self.witnesses.seen[answer.seen]
                if wanted != got:
                    return f"came out as {got}, should be {wanted}"
        return None

    def _nobodys(self, halves: Sequence[Half], clients: Sequence[_Client]) -> list[Half]:
        """The unfinished requests that no case can have begun.

        A body that is not whole may be on its way already; one that turns out to be none only to where bodies stream.
        """
        begun: list[Passage] = []
        for client in clients:
            head = client.reading.begun
            passage = self.proxy.passage(head) if head is not None else None
            if passage is not None and (client.reading.end is End.WAITING or passage.side != "agent"):
                begun.append(passage)
        nobodys = []
        # The longest half first, each to the shortest that it may be: so that none takes what another needs.
        for half in sorted(halves, key=lambda half: -len(half.data)):
            whose = min(
                (passage for passage in begun if _may_be(half, passage)),
                key=lambda passage: len(passage.body),
                default=None,
            )
            if whose is None:
                nobodys.append(half)
            else:
                begun.remove(whose)
        return nobodys

    def _count(self, client: _Client, *, has_crossed: bool) -> None:
        self.shares.cases += 1
        if has_crossed:
            self.shares.passed += 1
        elif client.has_ended or any(answer.status >= 400 for answer in client.answers):
            self.shares.refused += 1


def _may_be(half: Half, passage: Passage) -> bool:
    begun = half.begun
    return (
        begun is not None
        and (half.side, begun.method, begun.target) == passage[:3]
        and passage.body.startswith(begun.body)
    )
