"""The deterministic model behind the real agents: OpenAI's chat completions, steered by the words of the mock agent.

Every profile of every agent asks under a path of its own, so that a test can say who asked for what:
`model.turns("nas", "work")`. The model runs on the loop of the test; nothing of it survives its context.
"""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, Self

from switchboard_mock_agent.directives import Directives, parse

Outcome = Literal["running", "finished", "failed", "died", "left"]
PIECE = 8


@dataclass
class Asked:
    """One request of an agent to its model. `left`: the agent closed the connection before the answer was whole."""

    peer: str
    profile: str
    text: str
    stream: bool
    outcome: Outcome = "running"


class Model:
    """A chat completions server on a free port of `host`; a context manager. It keeps every request in `asked`."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.asked: list[Asked] = []
        self._host = host
        self._held, self._may_speak = "", asyncio.Event()
        self._server: asyncio.Server | None = None
        self._port = 0

    def base_url(self, peer: str, profile: str) -> str:
        """What this profile of this peer has as the base URL of its provider."""
        return f"http://{self._host}:{self._port}/{peer}/{profile}/v1"

    def turns(self, peer: str, profile: str, text: str = "") -> list[Asked]:
        """The requests of one profile, those that contain `text` where it is given."""
        return [a for a in self.asked if (a.peer, a.profile) == (peer, profile) and text in a.text]

    @contextmanager
    def holding(self, text: str) -> Iterator[None]:
        """Let whoever asks with this text wait for the answer's first word while the block lasts."""
        self._held, self._may_speak = text, asyncio.Event()
        try:
            yield
        finally:
            self._held = ""
            self._may_speak.set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, self._host, 0)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, one connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            method, path, body = await _request(reader)
            peer, profile, *rest = path.strip("/").split("/")
            if (method, rest) != ("POST", ["v1", "chat", "completions"]):
                await _reply(writer, 404, {"error": {"message": "no such route", "type": "not_found"}})
            else:
                await self._answer(peer, profile, json.loads(body), reader, writer)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _answer(
        self,
        peer: str,
        profile: str,
        body: Mapping[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        messages = body["messages"]
        asked = Asked(peer, profile, _last_user_text(messages), bool(body.get("stream")))
        self.asked.append(asked)
        name = peer if profile == "default" else f"{peer}/{profile}"
        held_by = self._may_speak if self._held and self._held in asked.text else None
        speaking = asyncio.create_task(_speak(name, asked, messages, writer, held_by))
        leaving = asyncio.create_task(reader.read())
        await asyncio.wait({speaking, leaving}, return_when=asyncio.FIRST_COMPLETED)
        asked.outcome = "left" if not speaking.done() or speaking.exception() else speaking.result()
        for task in (speaking, leaving):
            task.cancel()
        await asyncio.gather(speaking, leaving, return_exceptions=True)


async def _speak(
    name: str,
    asked: Asked,
    messages: Sequence[Mapping[str, Any]],
    writer: asyncio.StreamWriter,
    held_by: asyncio.Event | None,
) -> Outcome:
    """Answer as the words at the head of the last user message say."""
    words = parse(asked.text)
    if held_by is not None:
        await held_by.wait()
    if words.fail is not None:
        error = {"message": f"the model was told to fail with {words.fail}", "type": "told_to_fail"}
        await _reply(writer, words.fail, {"error": error})
        return "failed"
    await asyncio.sleep(words.silence)
    calls = [] if words.tool is None or messages[-1]["role"] == "tool" else [_tool_call(*words.tool)]
    text = "" if calls else f"[{name}] {_said(words, messages)}"
    finish, usage = ("tool_calls" if calls else "stop"), _usage(messages, text)
    if not asked.stream:
        message = {"role": "assistant", "content": text or None, **({"tool_calls": calls} if calls else {})}
        choice = {"index": 0, "message": message, "finish_reason": finish}
        await _reply(writer, 200, _completion("chat.completion", [choice]) | {"usage": usage})
        return "finished"

    async def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        await _frame(writer, json.dumps(_completion("chat.completion.chunk", [choice])))

    await _send(writer, b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
    await chunk({"role": "assistant", "content": ""})
    if calls:
        await chunk({"tool_calls": [{"index": 0, **calls[0]}]})
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    for number, piece in enumerate(pieces):
        await asyncio.sleep(words.delay)
        if words.die and number >= len(pieces) // 2:
            writer.transport.abort()
            return "died"
        await chunk({"content": piece})
    await chunk({}, finish)
    await _frame(writer, json.dumps(_completion("chat.completion.chunk", []) | {"usage": usage}))
    await _frame(writer, "[DONE]")
    return "finished"


def _said(words: Directives, messages: Sequence[Mapping[str, Any]]) -> str:
    """What a turn comes to; with `!!history` what was said before it, as pairs of role and text in JSON."""
    if not words.history:
        return f"echo: {' '.join([words.text] * words.repeat)}"
    last = max(n for n, message in enumerate(messages) if message["role"] == "user")
    talk = [[m["role"], m["content"]] for m in messages[:last] if m["role"] in ("user", "assistant") and m["content"]]
    return f"history: {json.dumps(talk)}"


def _last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last user message; of parts, those that are text."""
    content = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _tool_call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _completion(kind: str, choices: list[Any]) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_800_000_000, "model": "deterministic", "choices": choices}


def _usage(messages: Sequence[Mapping[str, Any]], text: str) -> dict[str, int]:
    """Words stand for tokens."""
    prompt, completion = len(json.dumps(messages).split()), len(text.split())
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _request(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    """Method, path and body of one HTTP/1.1 request with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, path, _ = first.split(" ")
    return method, path, await reader.readexactly(int(headers.get("content-length", 0)))


async def _reply(writer: asyncio.StreamWriter, status: int, body: Mapping[str, Any]) -> None:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n"
    await _send(writer, head.encode() + b"connection: close\r\n\r\n" + content)


async def _frame(writer: asyncio.StreamWriter, data: str) -> None:
    """One server-sent event; the end of the body is the end of the connection."""
    await _send(writer, f"data: {data}\n\n".encode())


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(content)
    await writer.drain()
