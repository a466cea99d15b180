"""What a walk to one peer found, hop by hop. Pure, but for a stopwatch.

name         the peers file has it
address      its host resolves
tailnet      to an address of a tailnet or of this machine, which this machine has an address to reach from
port         a TCP connect comes through
proxy        a proxy of ours answers there, lives, and goes by this name
credential   it takes the user and password that we have for it
agent        of each profile: its API server answers, and takes the proxy's key
profile      of each profile: it serves this one and no other
turn         of each profile: one turn ends with a word

Behind a hop that fails none is walked, of this peer or of this profile.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from .remedies import Places, sentence

Hop = Literal["name", "address", "tailnet", "port", "proxy", "credential", "agent", "profile", "turn"]


class HopFailed(Exception):
    """This hop does not hold. The text says why; `code` stands for what mends it, see `remedies`."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


@dataclass(slots=True)
class Step:
    """One hop walked, in `ms`. `detail` is what was seen there; of one that failed it is the sentence that mends it."""

    hop: Hop
    profile: str | None = None
    is_ok: bool = True
    ms: float = 0.0
    detail: str | None = None
    code: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON."""
        more = {"profile": self.profile, "detail": self.detail}
        told = {"hop": self.hop, "ok": self.is_ok, "ms": self.ms}
        return told | {name: value for name, value in more.items() if value is not None}


@dataclass(slots=True)
class Walk:
    """The way to one peer, as far as it went."""

    places: Places
    steps: list[Step] = field(default_factory=list)
    versions: dict[str, str | None] = field(default_factory=dict)
    """Of each profile's agent, where its proxy told it."""

    @property
    def is_ok(self) -> bool:
        """Whether every hop holds."""
        return self.failed is None

    @property
    def failed(self) -> Step | None:
        """The first hop that does not."""
        return next((step for step in self.steps if not step.is_ok), None)

    @contextmanager
    def hop(self, hop: Hop, profile: str | None = None) -> Iterator[Step]:
        """One hop, which is walked in this block; the step is there to be told what was seen.

        Raises:
            HopFailed: again, once it is noted.
        """
        step = Step(hop, profile)
        began = time.perf_counter()
        try:
            yield step
        except HopFailed as failure:
            step.is_ok, step.code = False, failure.code
            step.detail = sentence(failure.code, str(failure), self.places, profile)
            raise
        finally:
            step.ms = round((time.perf_counter() - began) * 1000, 1)
            self.steps.append(step)

    def aside(self) -> "Walk":
        """A walk of its own to the same peer, for a profile that is walked to beside others."""
        return Walk(self.places)

    def told(self) -> dict[str, Any]:
        """As JSON: see `told`."""
        failed = self.failed
        return {
            "peer": self.places.peer,
            "ok": self.is_ok,
            "hops": [step.told() for step in self.steps],
            "failed": None if failed is None else _failure(failed),
            "profiles": [{"profile": name, "agent_version": version} for name, version in self.versions.items()],
        }


def _failure(step: Step) -> dict[str, Any]:
    profile = {} if step.profile is None else {"profile": step.profile}
    return {"hop": step.hop, **profile, "code": step.code, "sentence": step.detail}


def told(walks: list[Walk]) -> dict[str, Any]:
    """All walks as JSON. Members are added, never changed:

    `{"ok", "peers": [{"peer", "ok", "hops": [{"hop", "profile"?, "ok", "ms", "detail"?}, …],
    "failed": {"hop", "profile"?, "code", "sentence"} | null, "profiles": [{"profile", "agent_version"}, …]}, …]}`
    """
    return {"ok": all(walk.is_ok for walk in walks), "peers": [walk.told() for walk in walks]}
