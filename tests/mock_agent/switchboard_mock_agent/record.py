"""What an agent received and did: every request, every turn and what became of it."""

from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["running", "finished", "failed", "died", "interrupted"]


@dataclass
class Turn:
    """One turn that was accepted. `interrupted`: the client left, and the agent noticed."""

    profile: str
    text: str
    stream: bool
    headers: dict[str, str]
    body: dict[str, Any]
    state: State = "running"

    def told(self) -> dict[str, Any]:
        """As `GET /mock/turns` shows it."""
        return {"profile": self.profile, "text": self.text, "stream": self.stream, "state": self.state}


@dataclass(frozen=True)
class Received:
    """One request, to the API server or to the dashboard; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Record:
    """Everything on record."""

    turns: list[Turn] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
