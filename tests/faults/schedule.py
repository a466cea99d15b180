"""What is asked and what goes wrong in one schedule, drawn from its seed. Pure."""

import random
import re
from dataclasses import dataclass
from typing import Literal

from doubles.faulty import Fault, Kind, Way

PEERS = 3
LAST_START_MS = 120
LONGEST_TROUBLE_MS = 300

APPROVE = "!!approve=make"

Hop = Literal["proxy", "agent"]
"""The stretch that ends there: coordinator to proxy, or proxy to agent."""
Mode = Literal["one", "any", "first", "all"]
Surface = Literal["chat", "turns"]
"""`/v1/chat/completions`, or `POST /api/turns` and its events."""


@dataclass(frozen=True)
class Ask:
    """One turn and its client.

    Attributes:
        peer: where it goes; a group's turn goes to all peers, or to any.
        directives: what the mock agents are told to do with it.
        again_after_ms: when the client asks the same once more, with the same Idempotency-Key.
        leaves_after_ms: when the client goes away. The turn goes on without it where `is_detached`.
        cancels_after_ms: when somebody cancels the turn.
        deadline_ms: how long the turn may take.
    """

    number: int
    at_ms: int = 0
    mode: Mode = "one"
    peer: int = 0
    surface: Surface = "chat"
    transport: Literal["chat", "runs"] = "chat"
    is_stream: bool = True
    directives: str = ""
    again_after_ms: int | None = None
    leaves_after_ms: int | None = None
    is_detached: bool = False
    cancels_after_ms: int | None = None
    deadline_ms: int | None = None

    def mark(self, seed: int) -> str:
        """The text that no other turn has."""
        return f"[turn {seed}.{self.number}]"

    def text(self, seed: int) -> str:
        """What is asked."""
        return f"{self.directives} {self.mark(seed)}".strip()

    def answer(self, seed: int, agent: str) -> str | None:
        """What the mock agent of this name says to it; None where that depends on who is asked for an approval."""
        if APPROVE in self.directives:
            return None
        words = re.search("!!repeat=([0-9]+)", self.directives)
        return f"[{agent}] echo: " + " ".join([self.mark(seed)] * (int(words[1]) if words else 1))

    @property
    def may_be_cancelled(self) -> bool:
        """Whether somebody gives it up, or a lane of it."""
        leaves = self.leaves_after_ms is not None and not self.is_detached
        return self.mode == "first" or leaves or self.cancels_after_ms is not None or self.deadline_ms is not None


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong for a while at one peer.

    A fault of the hop; where that is None, what stands at the hop's end says that it is draining.
    """

    peer: int
    hop: Hop
    at_ms: int
    for_ms: int
    fault: Fault | None


@dataclass(frozen=True)
class Schedule:
    """The same for the same seed, always."""

    seed: int
    asks: tuple[Ask, ...]
    troubles: tuple[Trouble, ...]


def drawn(seed: int) -> Schedule:
    """The schedule of this seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    asks = tuple(_ask(chance, number) for number in range(chance.choice((1, 1, 2, 3))))
    asked = sorted({ask.peer for ask in asks})
    troubles = tuple(_trouble(chance, chance.choice(asked)) for _ in range(chance.choice((0, 1, 1, 2, 3))))
    return Schedule(seed, asks, troubles)


def _ask(chance: random.Random, number: int) -> Ask:
    surface: Surface = chance.choice(("chat", "chat", "turns"))
    has_key = chance.random() < 0.15
    is_detached = surface == "turns" or (has_key and chance.random() < 0.5)
    given_up = chance.choice(("leaves", "cancels", "deadline")) if chance.random() < 0.25 else ""
    return Ask(
        number,
        at_ms=chance.randint(0, LAST_START_MS),
        mode=chance.choice(("one",) * 6 + ("any", "any", "all", "all", "first")),
        peer=chance.randrange(PEERS),
        surface=surface,
        transport="runs" if chance.random() < 0.35 else "chat",
        is_stream=chance.random() < 0.5,
        directives=_directives(chance, may_ask=given_up != "leaves"),
        again_after_ms=chance.choice((0, 5, 50, 300)) if has_key else None,
        leaves_after_ms=chance.randint(1, 150) if given_up == "leaves" else None,
        is_detached=is_detached and chance.random() < 0.7,
        cancels_after_ms=chance.randint(0, 150) if given_up == "cancels" and surface == "turns" else None,
        deadline_ms=chance.randint(5, 150) if given_up == "deadline" else None,
    )


def _directives(chance: random.Random, *, may_ask: bool) -> str:
    words = [APPROVE] if may_ask and chance.random() < 0.08 else []
    if chance.random() < 0.15:
        words.append(f"!!hold={chance.choice((0.02, 0.1))}")
    if chance.random() < 0.25:
        words.append(f"!!silence={chance.choice((0.02, 0.1))}")
    if chance.random() < 0.6:
        words.append(f"!!delay={chance.choice((0.002, 0.01, 0.02))}")
    if chance.random() < 0.5:
        words.append(f"!!repeat={chance.randint(2, 5)}")
    if chance.random() < 0.1:
        words.append(chance.choice(("!!die", "!!cut")))
    return " ".join(words)


def _trouble(chance: random.Random, peer: int) -> Trouble:
    return Trouble(
        peer,
        hop=chance.choice(("proxy", "agent")),
        at_ms=chance.randint(0, LAST_START_MS),
        for_ms=chance.randint(20, LONGEST_TROUBLE_MS),
        fault=None if chance.random() < 0.1 else _fault(chance),
    )


def _fault(chance: random.Random) -> Fault:
    kind: Kind = chance.choice(
        ("refuse", "turn_away", "reset", "reset", "close", "close", "half_close", "blackhole", "delay", "drip")
    )
    match kind:
        case "refuse" | "turn_away":
            return Fault(kind)
        case "delay":
            return Fault(kind, seconds=chance.choice((0.002, 0.02, 0.1)))
        case "drip":
            return Fault(kind, after=chance.choice((1, 50, 200)), seconds=chance.choice((0.0005, 0.003)))
    way: Way = chance.choice(("asked", "answered", "answered"))
    after = chance.choice((0, chance.randrange(1, 300), chance.randrange(300, 900), chance.randrange(900, 3000)))
    return Fault(kind, way, after, seconds=chance.choice((0.05, 0.2, 0.4)) if kind == "blackhole" else 0)
