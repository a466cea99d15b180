"""`/v1/runs`: turns that go on whoever reads them.

Their events have one reader, once; their status stays until the gateway ends.
"""

import asyncio
import secrets
import time
from typing import Any

from aiohttp import web

from . import answers, messages
from .directives import Directives, parse
from .messages import Refused
from .record import Message
from .run import End, Run
from .turns import Turns
from .work import CHOICES, Ask, Cut, Died, Failed, Finished, Text, ToolCompleted, ToolStarted, Wait

CLOSED = b": stream closed\n\n"
_ALIASES = dict.fromkeys(("approve", "approved", "allow"), "once")


class Runs:
    """The routes, and the table of runs: a gateway that starts again has none."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._runs: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """The gateway ends, and with it what still runs."""
        for run in self._runs.values():
            if run.task is not None:
                self._turns.end(run.turn, "interrupted")
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/runs`: 202 at once. A known `session_id` loads no history: that is the client's to send."""
        refused = self._turns.draining()
        if refused is not None:
            return refused
        try:
            _, key = messages.session_headers(request.headers, is_chat=False)
            refused = self._turns.full()
            if refused is not None:
                return refused
            body = await answers.body_of(request)
            if body is None:
                return answers.error(400, "Invalid JSON")
            text, history = messages.run_input(body)
        except Refused as refusal:
            return answers.refusal(refusal)
        run = self._begin(request, body, text, history)
        words = parse(text)
        run.task = asyncio.create_task(self._work(run, words))
        self._tasks.add(run.task)
        run.task.add_done_callback(self._tasks.discard)
        if words.hold:
            await asyncio.sleep(words.hold)
        headers = {"X-Hermes-Session-Key": key} if key else {}
        return answers.answer({"run_id": run.id, "status": "started"}, headers, status=202)

    def _begin(self, request: web.Request, body: dict[str, Any], text: str, history: list[Message]) -> Run:
        run_id = f"run_{secrets.token_hex(16)}"
        session = str(body.get("session_id") or run_id)
        run = Run(run_id, session, body.get("model") or "hermes-agent")
        told: dict[str, Any] = {"history": history, "instructions": str(body.get("instructions") or "")}
        run.turn = self._turns.begin("run", request, body, text, session=session, stream=False, run_id=run_id, **told)
        self._runs[run_id] = run
        return run

    async def _work(self, run: Run, words: Directives) -> None:
        run.be("running")
        steps = self._turns.steps(run.turn, words)
        said: str | None = None
        started = 0.0
        while True:
            try:
                step = steps.send(said)
            except StopIteration:
                return
            said = None
            match step:
                case Text(piece):
                    run.say(piece)
                case Wait(seconds):
                    await asyncio.sleep(seconds)
                case ToolStarted(_, tool, _, label):
                    started = time.monotonic()
                    run.tell("tool.started", tool=tool, preview=label)
                case ToolCompleted(_, tool, _, is_error):
                    duration = round(time.monotonic() - started, 3)
                    run.tell("tool.completed", tool=tool, duration=duration, error=is_error)
                case Ask(command, pattern):
                    said = await _allowed(run, command, pattern)
                case Cut():
                    run.stop_telling("cut")
                case Died():
                    del self._runs[run.id]
                    run.over("cut")
                case Finished() | Failed():
                    run.finish(step)

    async def status(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{run}`."""
        run = self._runs.get(request.match_info["run"])
        return _unknown(request) if run is None else answers.answer(run.status)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`GET /v1/runs/{run}/events`: what is buffered and what comes.

        Who leaves is noticed at the next write; the rest of the events is lost then.
        """
        run = await self._readable(request.match_info["run"])
        if run is None or run.feed is None:
            return _unknown(request)
        feed, response = run.feed, answers.streaming()
        try:
            await response.prepare(request)
            while isinstance(entry := await self._next(feed, response), bytes):
                await response.write(entry)
            if entry == "cut":
                answers.cut(request)
            else:
                await response.write(CLOSED)
        except ConnectionError:
            pass
        finally:
            run.leave()
        return response

    async def _readable(self, run_id: str) -> Run | None:
        """The run, if it has events or gets some soon."""
        looks = 20
        for _ in range(looks):
            run = self._runs.get(run_id)
            if run is not None and run.feed is not None:
                return run
            await asyncio.sleep(self._turns.gateway.subscribe_seconds / looks)
        return None

    async def _next(self, feed: asyncio.Queue[bytes | End], response: web.StreamResponse) -> bytes | End:
        while feed.empty():
            try:
                async with asyncio.timeout(self._turns.gateway.keepalive_seconds):
                    return await feed.get()
            except TimeoutError:
                await response.write(answers.KEEPALIVE)
        return feed.get_nowait()

    async def stop(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/runs/{run}/stop`: at once, in the middle of whatever it does."""
        run = self._runs.get(request.match_info["run"])
        if run is None or run.task is None:
            return _unknown(request)
        run.task.cancel()
        self._turns.end(run.turn, "stopped")
        run.tell("run.cancelled")
        run.be("cancelled")
        run.over("closed")
        return answers.answer({"run_id": run.id, "status": "stopping"})

    async def approve(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/runs/{run}/approval`."""
        run = self._runs.get(request.match_info["run"])
        if run is None:
            return _unknown(request)
        body = await answers.body_of(request)
        if body is None:
            return answers.error(400, "Invalid JSON")
        given = str(body.get("choice", "")).strip().lower()
        choice = _ALIASES.get(given, given)
        if choice not in CHOICES:
            words = f"Invalid approval choice; expected one of: {', '.join(CHOICES)}"
            return answers.error(400, words, code="invalid_approval_choice")
        if run.task is None:
            words = f"Run has no active approval session: {run.id}"
            return answers.error(409, words, code="approval_not_active")
        if run.pending is None:
            return answers.error(409, f"Run has no pending approval: {run.id}", code="approval_not_pending")
        run.pending.set_result(choice)
        run.pending = None
        run.be("running")
        run.tell("approval.responded", choice=choice, resolved=1)
        told = {"object": "hermes.run.approval_response", "run_id": run.id, "choice": choice, "resolved": 1}
        return answers.answer(told)


async def _allowed(run: Run, command: str, pattern: str) -> str:
    """Ask a person, and wait."""
    pending = run.pending = asyncio.get_running_loop().create_future()
    asked = {"command": command, "pattern_key": pattern, "pattern_keys": [pattern], "description": pattern}
    run.be("waiting_for_approval")
    run.tell("approval.request", {**asked, "allow_permanent": True}, choices=CHOICES)
    return str(await pending)


def _unknown(request: web.Request) -> web.Response:
    return answers.error(404, f"Run not found: {request.match_info['run']}", code="run_not_found")
