"""A client that asks a coordinator at a steady rate, whatever comes of it, and stays with each of its turns to the end.

It sends a turn again only where the answer proves that nothing started; where no answer came, it sends the same
request under the same Idempotency-Key, which joins what may have begun. It reads each turn's events, and comes back
with Last-Event-ID where the stream breaks. What it lived through is for `judge` to judge.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx
import orjson

from .judge import Record

PATIENCE_SECONDS = 600.0
"""So long a turn may take, everything in it, until it is given up."""
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 20.0
"""No answer and no comment for so long: the connection is dead. The coordinator is never silent for more than 5 s."""
PAUSE_SECONDS = 0.25
"""Before asking again where nothing says how long to wait."""
MOST_TRIES = 400
_WORDS = "whoever hears this, say it back"


class Load:
    """Asks while its block lasts, round robin over `to`; leaving it waits for the end of every turn that was begun.

    `directives` stand at the head of each text (`!!delay=0.02`). Every request has a connection of its own.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        to: Sequence[str],
        per_second: float,
        directives: str = "",
        transport: str | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.records: list[Record] = []
        self._url, self._key, self._to = url, key, to
        self._per_second, self._directives, self._patience = per_second, directives, patience_seconds
        self._transport = {} if transport is None else {"transport": transport}
        self._name = f"turn-{secrets.token_hex(3)}"
        self._over = asyncio.Event()
        self._client: httpx.AsyncClient
        self._asking: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._asking = asyncio.create_task(self._ask_on())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._over.set()
        if kind is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking
            return
        await self._asking

    @property
    def open(self) -> list[Record]:
        """The turns that are not over."""
        return [record for record in self.records if record.ended is None]

    async def _ask_on(self) -> None:
        self._client = httpx.AsyncClient(
            base_url=self._url,
            headers={"authorization": f"Bearer {self._key}"},
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )
        start = _now()
        async with self._client, asyncio.TaskGroup() as turns:
            for number in count():
                due = start + number / self._per_second
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._over.wait()
                        return
                mark = f"{self._name}-{number:06d}"
                record = Record(mark, self._to[number % len(self._to)], f"{mark} {_WORDS}", due, begun=_now())
                self.records.append(record)
                turns.create_task(self._turn(record))

    async def _turn(self, record: Record) -> None:
        try:
            async with asyncio.timeout(self._patience):
                for attempt in count():
                    turn = await self._begin(record, f"{record.mark}-{attempt}")
                    if turn is None:
                        return
                    ending = await self._follow(record, turn)
                    if ending.get("started") != "no" or len(record.resends) >= MOST_TRIES:
                        return
                    record.ended, record.state = None, "open"
                    await self._again(record, f"turn ended as {ending['code']}", ending.get("retry_after"))
        except TimeoutError:
            record.end(_now(), "given up", f"after {self._patience:g} s, {record.state}")

    async def _begin(self, record: Record, key: str) -> str | None:
        """The id of the turn; None where it must not be asked again."""
        body = {"to": record.to, "text": f"{self._directives} {record.spoken}".lstrip(), **self._transport}
        repeats = 0
        while len(record.resends) + record.repeats < MOST_TRIES:
            try:
                answer = await self._client.post("/api/turns", json=body, headers={"idempotency-key": key})
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                await self._again(record, f"no connection ({type(error).__name__})")
                continue
            except httpx.TransportError as error:
                record.note(_now(), f"no answer: {error!r}")
                record.repeats += 1
                repeats += 1
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            told = _json(answer.content)
            if answer.status_code in (200, 202):
                if answer.status_code == 200 and not repeats:
                    record.faults.append("it was asked for the first time and joined a turn")
                record.accepted(_now(), told["id"])
                return str(told["id"])
            reason = f"{answer.status_code} {told.get('code')}"
            if answer.headers.get("x-switchboard-started") != "no" or answer.status_code not in (429, 503):
                record.end(_now(), "refused", reason)
                return None
            await self._again(record, reason, answer.headers.get("retry-after"))
        record.end(_now(), "given up", f"after {MOST_TRIES} tries")
        return None

    async def _again(self, record: Record, reason: str, retry_after: Any = None) -> None:
        """Nothing started: note why, and wait as long as was told."""
        record.note(_now(), f"sent again: {reason}")
        record.resends.append(reason)
        await asyncio.sleep(PAUSE_SECONDS if retry_after is None else float(retry_after))

    async def _follow(self, record: Record, turn: str) -> dict[str, Any]:
        """Read its events to the last, which is given."""
        cursor = ""
        while True:
            headers = {"last-event-id": cursor} if cursor else {}
            broke = "the stream ended before the turn did"
            try:
                async with self._client.stream("GET", f"/api/turns/{turn}/events", headers=headers) as answer:
                    if answer.status_code < 500 and answer.status_code != 200:
                        record.end(_now(), "lost", f"{answer.status_code} {_json(await answer.aread()).get('code')}")
                        return {}
                    async with aclosing(_events(answer)) as events:
                        async for place, event in events:
                            cursor = place
                            if record.see(_now(), event):
                                return event
                    if answer.status_code != 200:
                        broke = f"status {answer.status_code}"
            except httpx.TransportError as error:
                broke = repr(error)
            record.note(_now(), f"reconnects behind {cursor or 'nothing'}: {broke}")
            record.reconnects += 1
            await asyncio.sleep(PAUSE_SECONDS)


async def _events(answer: httpx.Response) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """Each event with its cursor. What came of one when the stream broke is none."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            fields[name] = value
        elif not line and "data" in fields:
            yield fields["id"], orjson.loads(fields["data"])
            fields = {}


def _json(content: bytes) -> dict[str, Any]:
    """An object; empty where it is none."""
    try:
        told = orjson.loads(content)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def _now() -> float:
    return asyncio.get_running_loop().time()
