"""The turns of one agent: which are let in, how each begins and ends, what its session keeps. Knows no surface.

What an agent does in a turn is in `work`; here it meets the record, which counts it, and the stored sessions.
"""

from typing import Any

from aiohttp import web

from . import answers
from .directives import Directives
from .door import headers_of, profile_of
from .gateway import Gateway
from .record import Message, Record, State, Surface, Turn
from .sessions import Sessions
from .work import Died, Failed, Finished, Steps, ToolCompleted, ToolStarted, work


class Turns:
    """Every surface begins and ends its turns here."""

    def __init__(self, gateway: Gateway, record: Record, sessions: Sessions) -> None:
        self.gateway = gateway
        self.sessions = sessions
        self._record = record

    def draining(self) -> web.Response | None:
        """The refusal of a gateway that is about to stop."""
        if not self.gateway.is_draining:
            return None
        words = "Gateway is draining existing work; retry shortly."
        return answers.error(503, words, code="gateway_draining", headers={"Retry-After": "1"})

    def full(self) -> web.Response | None:
        """The refusal of one turn too many."""
        limit = self.gateway.max_turns
        if limit <= 0 or self._record.running < limit:
            return None
        words = f"Too many concurrent runs (max {limit})"
        headers = {"Retry-After": "1"}
        return answers.error(429, words, kind="rate_limit_error", code="rate_limit_exceeded", headers=headers)

    def begin(
        self,
        surface: Surface,
        request: web.Request,
        body: dict[str, Any],
        text: str,
        *,
        session: str,
        stream: bool,
        history: list[Message],
        instructions: str = "",
        run_id: str = "",
    ) -> Turn:
        """The agent begins to work: from here on the turn is on record as executed."""
        profile, headers = profile_of(request, self.gateway), headers_of(request)
        turn = Turn(surface, profile, text, stream, headers, body, session, history, instructions, run_id)
        self._record.begin(turn)
        self.sessions.keep(profile, session, "user", text)
        return turn

    def steps(self, turn: Turn, words: Directives) -> Steps:
        """The steps of a turn, each noted before it is shown."""
        steps = work(self.gateway.signature(turn.profile), turn.text, words, turn.history)
        said: str | None = None
        while True:
            try:
                step = steps.send(said)
            except StopIteration:
                return
            match step:
                case ToolStarted():
                    self.sessions.keep_call(turn.profile, turn.session, step)
                case ToolCompleted():
                    self.sessions.keep_result(turn.profile, turn.session, step)
                case Finished():
                    self.sessions.keep(turn.profile, turn.session, "assistant", step.text, finish_reason="stop")
                    self.end(turn, "finished")
                case Failed():
                    self.end(turn, "failed")
                case Died():
                    self.end(turn, "died")
            said = yield step

    def end(self, turn: Turn, state: State) -> None:
        """It has ended; only the first end counts."""
        self._record.end(turn, state)
