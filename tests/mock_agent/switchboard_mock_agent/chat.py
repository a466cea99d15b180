"""`POST /v1/chat/completions`.

On a stream a client that leaves is noticed at the next write; where the answer comes whole it is never noticed.
"""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import answers, messages
from .completion import DONE, NO_USAGE, Completion, failure, tool_frame
from .directives import Directives, parse
from .door import profile_of
from .messages import Refused
from .once import Once
from .record import Turn
from .turns import Turns
from .work import Ask, Cut, Died, Failed, Finished, Step, Text, ToolCompleted, ToolStarted, Wait

_QUESTION = ("model", "messages", "tools", "tool_choice", "stream")


@dataclass(frozen=True)
class _Whole:
    """What became of a turn that is told at its end; `last` is None where the connection breaks instead."""

    last: Failed | Finished | None


class Chat:
    """The route."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._once: Once[_Whole] = Once()

    async def close(self) -> None:
        """The gateway ends."""
        await self._once.close()

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Refusals in the real one's order: draining, too many, no JSON, the messages, the session."""
        refused = self._turns.draining() or self._turns.full()
        if refused is not None:
            return refused
        body = await answers.body_of(request)
        if body is None:
            return answers.error(400, "Invalid JSON in request body")
        try:
            asked = messages.asked(body.get("messages"))
            given, key = messages.session_headers(request.headers)
        except Refused as refusal:
            return answers.refusal(refusal)
        session = given or asked.derived_session
        headers = {"X-Hermes-Session-Id": session, **({"X-Hermes-Session-Key": key} if key else {})}
        stream = messages.is_true(body.get("stream"))

        def begin() -> Turn:
            profile = profile_of(request, self._turns.gateway)
            history = self._turns.sessions.history(profile, given) if given else asked.history
            more: dict[str, Any] = {"history": history, "instructions": asked.system}
            return self._turns.begin("chat", request, body, asked.text, session=session, stream=stream, **more)

        if stream:
            return await self._stream(request, begin(), headers)
        once = request.headers.get("Idempotency-Key")
        if once is None:
            whole = await self._work(begin())
        else:
            question = {name: body.get(name) for name in _QUESTION}
            whole = await self._once.run(once, question, lambda: self._work(begin()))
        return self._told(request, whole, body, headers)

    async def _work(self, turn: Turn) -> _Whole:
        words, last = parse(turn.text), None
        try:
            await asyncio.sleep(words.hold)
            for step in self._turns.steps(turn, words):
                match step:
                    case Wait(seconds):
                        await asyncio.sleep(seconds)
                    case Cut():
                        break
                    case Failed() | Finished():
                        last = step
        finally:
            self._turns.end(turn, "interrupted")  # the gateway stops, or the connection is cut: what has ended stays so
        return _Whole(last)

    def _told(
        self, request: web.Request, whole: _Whole, body: dict[str, Any], headers: dict[str, str]
    ) -> web.StreamResponse:
        completion = _completion(body)
        match whole.last:
            case Finished(text, usage):
                return answers.answer(completion.whole(text, "stop", usage), headers)
            case Failed(error, text):
                more = {"X-Hermes-Completed": "false", "X-Hermes-Partial": "false", "X-Hermes-Error": error}
                told = completion.whole(text, "error", NO_USAGE, hermes=failure(error))
                return answers.answer(told, headers | more)
            case None:
                answers.cut(request)
                return web.StreamResponse()

    async def _stream(self, request: web.Request, turn: Turn, headers: dict[str, str]) -> web.StreamResponse:
        words = parse(turn.text)
        response = answers.streaming(headers)
        try:
            await asyncio.sleep(words.hold)
            await response.prepare(request)
            await self._speak(request, response, turn, words)
        except ConnectionError:
            pass
        finally:
            self._turns.end(turn, "interrupted")  # the client left, or the gateway stops: what has ended stays so
        return response

    async def _speak(self, request: web.Request, response: web.StreamResponse, turn: Turn, words: Directives) -> None:
        completion = _completion(turn.body)
        await response.write(completion.role())
        for step in self._turns.steps(turn, words):
            match step:
                case Text(piece):
                    await response.write(completion.text(piece))
                case Wait(seconds):
                    await answers.be_silent(seconds, self._turns.gateway.keepalive_seconds, response.write)
                case Died() | Cut():
                    answers.cut(request)
                    return
                case _:
                    for frame in _frames(completion, step):
                        await response.write(frame)


def _frames(completion: Completion, step: Step) -> tuple[bytes, ...]:
    match step:
        case ToolStarted() | ToolCompleted():
            return (tool_frame(step),)
        case Failed(error):
            more = {"error": {"message": error, "type": "agent_error"}, "hermes": failure(error)}
            return completion.last("error", NO_USAGE, **more), DONE
        case Finished(_, usage):
            return completion.last("stop", usage), DONE
        case Ask():  # nobody can be asked here: going on without an answer means that
            return ()
    return ()


def _completion(body: dict[str, Any]) -> Completion:
    return Completion(body.get("model") or "hermes-agent")
