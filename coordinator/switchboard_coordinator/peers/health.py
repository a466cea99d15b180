"""How a peer and its profiles are, level by level. Pure: knows what was found, not how one looks.

network      a TCP connect comes through
proxy        what answers there is a proxy of ours, under this name, and knows the profile
credential   it takes our Basic pair, and the profile's agent the key that the proxy puts in
agent        the agent answers, as this profile and no other, and says that it is ready
turn         how the last real turn ended

Each level can be tried only where those before it hold; `state` is what the first four come to.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

State = Literal["up", "degraded", "unauthorized", "down"]
PeerState = State | Literal["draining"]
LevelState = Literal["ok", "degraded", "failed", "unknown"]

NOT_ASKED = "has not been asked yet"


@dataclass(frozen=True, slots=True)
class Level:
    """One level; `detail` is a sentence where it does not hold."""

    state: LevelState = "unknown"
    detail: str | None = None


OK, UNKNOWN = Level("ok"), Level()


@dataclass(frozen=True, slots=True)
class Levels:
    """What one look found. Of a peer as a whole the agent is not asked: each of its profiles has one."""

    network: Level = UNKNOWN
    proxy: Level = UNKNOWN
    credential: Level = UNKNOWN
    agent: Level = UNKNOWN

    @property
    def state(self) -> State:
        """In one word."""
        if self.credential.state == "failed":
            return "unauthorized"
        if self.agent.state in ("ok", "degraded"):
            return "up" if self.agent.state == "ok" else "degraded"
        return "down"

    @property
    def detail(self) -> str | None:
        """Why it is not up."""
        if self == NEVER_LOOKED:
            return NOT_ASKED
        return next(
            (level.detail for level in (self.network, self.proxy, self.credential, self.agent) if level.detail), None
        )


NEVER_LOOKED = Levels()


@dataclass(frozen=True, slots=True)
class Found:
    """What one look found of a profile."""

    levels: Levels
    agent_version: str | None = None
    reported: str | None = None
    """The proxy's own word for it, which tells an agent that is not there from one that is not this profile."""


@dataclass(frozen=True, slots=True)
class LastTurn:
    """How the last real turn of an address ended, as far as that was its agent's affair."""

    outcome: str
    code: str | None
    at: datetime

    @property
    def state(self) -> LevelState:
        """A turn that its user cancelled speaks neither for its agent nor against it."""
        if self.outcome in ("failed", "interrupted"):
            return "failed"
        return "ok" if self.outcome == "done" else "unknown"


def no_network(detail: str) -> Levels:
    """No connect came through."""
    return Levels(network=Level("failed", detail))


def no_proxy(detail: str) -> Levels:
    """Something is there, and it does not answer as a proxy of ours for this peer."""
    return Levels(OK, Level("failed", detail))


def refused(detail: str) -> Levels:
    """The proxy does not let us in."""
    return Levels(OK, OK, Level("failed", detail))


LET_IN = Levels(OK, OK, OK)
"""The proxy answers us; the rest is its agents' affair."""


def reported(state: str, detail: str | None) -> Levels:
    """A profile as its proxy reports it; a state that is not known counts as down."""
    if state == "up":
        return Levels(OK, OK, OK, OK)
    if state == "degraded":
        return Levels(OK, OK, OK, Level("degraded", detail))
    if state == "unauthorized":
        return refused(detail or "the agent refuses its key")
    return Levels(OK, OK, UNKNOWN, Level("failed", detail))


def summed_up(profiles: Mapping[str, Levels]) -> tuple[State, str | None]:
    """A peer's state and detail from its profiles', once its proxy lets us in."""
    states = {levels.state for levels in profiles.values()}
    if states == {"up"}:
        return "up", None
    worst = "; ".join(f"{name}: {levels.detail}" for name, levels in profiles.items() if levels.state != "up")
    return states.pop() if len(states) == 1 else "degraded", worst
