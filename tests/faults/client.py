"""Clients of the coordinator, each over connections of its own: what they ask, how long they stay, what they hear."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from doubles.raw_client import RawClient, Reply

from .schedule import Ask
from .verdict import CANCELLED, END_MARK, LaneRecord, Record, Told

PATIENCE_SECONDS = 9.0
"""Less than a `RawClient` waits for one piece."""


APPROVAL_SECONDS = 0.02
"""A person needs some time to decide, and before asking again."""


class Caller:
    """Asks the coordinator at `port` with a consumer's key."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    async def ask(self, ask: Ask, model: str, text: str) -> tuple[Told, ...]:
        """One turn as its client lives through it: what it heard, each time that it asked."""
        if ask.again_after_ms is None:
            return (await self._ask_once(ask, model, text),)
        async with asyncio.TaskGroup() as asking:
            first = asking.create_task(self._ask_once(ask, model, text))
            await asyncio.sleep(ask.again_after_ms / 1000)
            again = replace(ask, leaves_after_ms=None, cancels_after_ms=None)
            second = asking.create_task(self._ask_once(again, model, text))
        return first.result(), second.result()

    async def _ask_once(self, ask: Ask, model: str, text: str) -> Told:
        stays = PATIENCE_SECONDS if ask.leaves_after_ms is None else ask.leaves_after_ms / 1000
        heard = _Heard()
        try:
            async with asyncio.timeout(stays):
                if ask.surface == "chat":
                    await self._ask_chat(ask, model, text, heard)
                else:
                    await self._ask_turn(ask, model, text, heard)
        except TimeoutError:
            if ask.leaves_after_ms is not None:
                return replace(heard.told(), kind="left")
            return replace(heard.told(), kind="silence", words=f"nothing ended within {PATIENCE_SECONDS:g} s")
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            return replace(heard.told(), kind="silence", words=f"the connection broke: {error!r}")
        return heard.told()

    async def _ask_chat(self, ask: Ask, model: str, text: str, heard: "_Heard") -> None:
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": ask.is_stream}
        async with self.asking("POST", "/v1/chat/completions", body, _terms(ask, text)) as client:
            head = await client.head()
            heard.turn = head["x-switchboard-turn"] or ""
            if head["content-type"] == "application/json":
                head.body = await client.exactly(int(head["content-length"] or 0))
                heard.answer(head)
                return
            while piece := await client.piece():
                heard.chunks(piece)

    async def _ask_turn(self, ask: Ask, model: str, text: str, heard: "_Heard") -> None:
        async with self.asking("POST", "/api/turns", {"to": model, "text": text}, _terms(ask, text)) as client:
            reply = await client.reply("POST")
        if reply.status not in (200, 202):
            heard.answer(reply)
            return
        heard.turn = reply.json()["id"]
        async with asyncio.TaskGroup() as both:
            if ask.cancels_after_ms is not None:
                both.create_task(self._cancel(heard.turn, ask.cancels_after_ms / 1000))
            async with self.asking("GET", f"/api/turns/{heard.turn}/events") as client:
                await client.head()
                while piece := await client.piece():
                    for approval in heard.events(piece):
                        both.create_task(self._approve(heard.turn, approval))

    async def _approve(self, turn: str, approval: str) -> None:
        """Allow it, until that was taken or comes too late."""
        status = 0
        while status not in (200, 409):
            await asyncio.sleep(APPROVAL_SECONDS)
            path = f"/api/turns/{turn}/approvals/{approval}"
            async with self.asking("POST", path, {"choice": "once"}) as client:
                status = (await client.reply("POST")).status

    async def _cancel(self, turn: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        async with self.asking("POST", f"/api/turns/{turn}/cancel") as client:
            await client.reply("POST")

    async def record(self, turn: str) -> Record:
        """What is on record of a turn."""
        told = (await self.get(f"/api/turns/{turn}")).json()
        lanes = [
            LaneRecord(lane["address"].rpartition("@")[2], lane["code"] or lane["state"], lane["text"])
            for lane in told["lanes"]
        ]
        return Record(told["state"], told.get("code") or "", tuple(lanes))

    async def open_turns(self) -> list[str]:
        """Where the turns went that are not over yet."""
        told = [(await self.get(f"/api/turns?limit=500&state={state}")).json() for state in ("queued", "running")]
        return [turn["to"] for page in told for turn in page["turns"]]

    async def finds(self, peers: Iterable[str]) -> bool:
        """Whether a connection to each of these peers came through when it was looked at last."""
        told = [(await self.get(f"/api/peers/{peer}")).json() for peer in peers]
        return all(peer["levels"]["network"]["state"] == "ok" for peer in told)

    async def get(self, path: str) -> Reply:
        """One answer."""
        async with self.asking("GET", path) as client:
            return await client.reply()

    @asynccontextmanager
    async def asking(
        self, method: str, path: str, body: object = None, headers: Iterable[str] = ()
    ) -> AsyncIterator[RawClient]:
        """A connection over which one request is on its way, and which is closed when the block ends."""
        sent = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Connection: close",
            f"Authorization: Bearer {self._key}",
            f"Content-Length: {len(sent)}",
            *headers,
            *("", ""),
        ]
        async with RawClient(self._port) as client:
            client.send("\r\n".join(lines).encode() + sent)
            yield client


def _terms(ask: Ask, text: str) -> Iterable[str]:
    yield f"x-switchboard-transport: {ask.transport}"
    yield f"x-switchboard-on-disconnect: {'detach' if ask.is_detached else 'cancel'}"
    if ask.again_after_ms is not None:
        yield f"Idempotency-Key: {text.replace(' ', '_')}"
    if ask.deadline_ms is not None:
        yield f"x-switchboard-deadline-ms: {ask.deadline_ms}"


class _Heard:
    """What a client has heard so far."""

    def __init__(self) -> None:
        self.turn = ""
        self._end = Told("silence", words="the answer ended without an end mark and without an error")
        self._texts: dict[int, str] = {}
        self._stream = b""
        self._last_id = 0

    def told(self) -> Told:
        """What it comes to."""
        text = "\n".join(text for _, text in sorted(self._texts.items()))
        return replace(self._end, text=text, turn=self.turn)

    def answer(self, reply: Reply) -> None:
        """One JSON value."""
        value = reply.json()
        if reply.status == 200:
            self._texts[0] = value["choices"][0]["message"]["content"]
            self._end = Told("whole")
        else:
            error = value.get("error") or {**value, "message": value["detail"]}
            started = reply["x-switchboard-started"] or ""
            self._end = Told("error", code=error["code"], started=started, words=error["message"])

    def chunks(self, piece: bytes) -> None:
        """A part of a stream of chunks."""
        for frame in self._frames(piece):
            if frame + b"\n\n" == END_MARK:
                self._end = Told("whole")
            elif b"data: {" in frame:
                chunk = json.loads(frame.partition(b"data: ")[2])
                for choice in chunk.get("choices", ()):
                    self._say(choice["index"], choice["delta"].get("content") or "")
                if "choices" not in chunk and isinstance(error := chunk.get("error"), dict):
                    self._end = Told("error", code=error["code"], words=error["message"])

    def events(self, piece: bytes) -> list[str]:
        """A part of a stream of turn events; gives the approvals that it asks for."""
        approvals = []
        for frame in self._frames(piece):
            if b"data: {" not in frame:
                continue
            event = json.loads(frame.partition(b"data: ")[2])
            if event["id"] != self._last_id + 1:
                raise ConnectionError(f"event {event['id']} came after event {self._last_id}")
            self._last_id = event["id"]
            if event["event"] == "lane.text":
                self._say(event["lane"], event["text"])
            elif event["event"] == "lane.approval":
                approvals.append(event["approval"])
            elif event["event"].startswith("turn.") and event["event"] != "turn.accepted":
                self._end = _end(event)
        return approvals

    def _say(self, lane: int, text: str) -> None:
        self._texts[lane] = self._texts.get(lane, "") + text

    def _frames(self, piece: bytes) -> list[bytes]:
        *frames, self._stream = (self._stream + piece).split(b"\n\n")
        return frames


def _end(event: dict[str, Any]) -> Told:
    """What a turn's last event tells."""
    state = event["event"].removeprefix("turn.")
    if state == "done":
        return Told("whole")
    code = event.get("code") or ("turn_cancelled" if state == CANCELLED else "")
    return Told("error", code=code, started=event.get("started") or "", words=event.get("message") or "")
