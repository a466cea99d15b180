"""What an agent received and did: every request, every turn and what became of it.

A turn here is one execution: it is on record from the moment at which the agent begins to work, whoever is still
there to read.
"""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "finished", "failed", "died", "stopped", "interrupted"]
Surface = Literal["chat", "run", "response"]
Message = dict[str, Any]


@dataclass
class Turn:
    """One turn that was accepted. `interrupted`: the client left and the agent noticed, or the gateway ended under it.

    `history` is what the model saw before `text`, `instructions` what it saw as a system prompt. Times are of
    `time.monotonic`, which all processes of a machine share.
    """

    surface: Surface
    profile: str
    text: str
    stream: bool
    headers: dict[str, str]
    body: dict[str, Any]
    session: str
    history: list[Message] = field(default_factory=list)
    instructions: str = ""
    run_id: str = ""
    state: State = "running"
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    @property
    def request_id(self) -> str:
        """The `x-request-id` it came with."""
        return self.headers.get("x-request-id", "")

    def told(self) -> dict[str, Any]:
        """As `GET /mock/turns` shows it."""
        names = ("surface", "profile", "text", "stream", "state", "request_id", "run_id", "started_at", "ended_at")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Received:
    """One request, to the API server or to the dashboard; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Record:
    """Everything on record, or the newest where `keep` is given."""

    keep: int | None = None
    turns: list[Turn] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    running: int = 0

    def receive(self, received: Received) -> None:
        """Note a request."""
        self.requests.append(received)
        self._forget(self.requests)

    def begin(self, turn: Turn) -> None:
        """The agent begins to work."""
        self.turns.append(turn)
        self.running += 1
        self._forget(self.turns)

    def end(self, turn: Turn, state: State) -> None:
        """The agent has ended its work; only the first end counts."""
        if turn.state == "running":
            self.running -= 1
            turn.state, turn.ended_at = state, time.monotonic()

    def _forget(self, entries: list[Any]) -> None:
        if self.keep is not None and len(entries) > 2 * self.keep:
            del entries[: -self.keep]
