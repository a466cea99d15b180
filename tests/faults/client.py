"""One client of the coordinator over a connection of its own: what it asks, how long it stays, what it hears."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from doubles.raw_client import RawClient, Reply

from .schedule import Ask
from .verdict import DONE, END_MARK, Told, text_of

PATIENCE_SECONDS = 8.0


class Caller:
    """Asks the coordinator at `port` with a consumer's key."""

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._key = key

    async def ask(self, ask: Ask, model: str, text: str) -> Told:
        """One turn as its client lives through it."""
        async with RawClient(self._port) as client:
            client.send(self._question(ask, model, text))
            stays = PATIENCE_SECONDS if ask.leaves_after_ms is None else ask.leaves_after_ms / 1000
            try:
                async with asyncio.timeout(stays):
                    return await _told(client)
            except TimeoutError:
                if ask.leaves_after_ms is None:
                    return Told("silence", words=f"nothing ended within {PATIENCE_SECONDS:g} s")
                return Told("left")
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                return Told("silence", words=f"the connection broke: {error}")

    async def finds(self, peers: Iterable[str]) -> bool:
        """Whether a connection to each of these peers came through when it was looked at last."""
        for peer in peers:
            async with RawClient(self._port) as client:
                client.send(self._request("GET", f"/api/peers/{peer}"))
                told = (await client.reply()).json()
            if told["levels"]["network"]["state"] != "ok":
                return False
        return True

    def _question(self, ask: Ask, model: str, text: str) -> bytes:
        asked = {"model": model, "messages": [{"role": "user", "content": text}], "stream": ask.is_stream}
        return self._request("POST", "/v1/chat/completions", json.dumps(asked).encode())

    def _request(self, method: str, path: str, body: bytes = b"") -> bytes:
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            "Connection: close",
            f"Authorization: Bearer {self._key}",
            f"Content-Length: {len(body)}",
            *("", ""),
        ]
        return "\r\n".join(lines).encode() + body


async def _told(client: RawClient) -> Told:
    reply = await client.reply("POST")
    if reply["content-type"] == "application/json":
        return _whole(reply) if reply.status == 200 else _refusal(reply)
    return _streamed(reply.body)


def _whole(reply: Reply) -> Told:
    answer = reply.json()
    return Told("whole", answer["choices"][0]["message"]["content"], lanes=_lanes(answer))


def _refusal(reply: Reply) -> Told:
    error = reply.json()["error"]
    return Told("error", code=error["code"], started=reply["x-switchboard-started"] or "", words=error["message"])


def _streamed(stream: bytes) -> Told:
    frames = stream.split(b"\n\n")[:-1]
    chunks = [json.loads(frame.partition(b"data: ")[2]) for frame in frames if b"data: {" in frame]
    if stream.endswith(END_MARK):
        return Told("whole", text_of(stream), lanes=_lanes(chunks[-1]))
    error = chunks[-1].get("error") if chunks else None
    if not isinstance(error, dict):
        return Told("silence", text_of(stream), words="the stream ended without an end mark and without an error")
    return Told("error", text_of(stream), code=error["code"], words=error["message"])


def _lanes(answer: dict[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """What the answer tells of its lanes."""
    lanes = answer.get("switchboard", {}).get("lanes")
    if lanes is None:
        return None
    return tuple((lane["address"].rpartition("@")[2], lane["code"] or DONE) for lane in lanes)
