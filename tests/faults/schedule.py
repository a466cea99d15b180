"""What is asked and what goes wrong in one schedule, drawn from its seed. Pure."""

import random
from dataclasses import dataclass
from typing import Literal

from doubles.faulty import Fault, Kind, Way

PEERS = 3
LAST_START_MS = 120
MOST_TROUBLE_MS = 300

Hop = Literal["proxy", "agent"]
"""The stretch that ends there: coordinator to proxy, or proxy to agent."""
Mode = Literal["one", "all"]


@dataclass(frozen=True)
class Ask:
    """One turn of one client."""

    number: int
    at_ms: int
    mode: Mode
    peer: int
    """Where it goes; for a group's turn it does not count."""
    is_stream: bool
    directives: str
    leaves_after_ms: int | None = None

    def mark(self, seed: int) -> str:
        """The text that no other turn has."""
        return f"[turn {seed}.{self.number}]"

    def text(self, seed: int) -> str:
        """What is asked."""
        return f"{self.directives} {self.mark(seed)}".strip()


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong for a while at one peer: a fault of a hop, or the proxy says that it is draining."""

    peer: int
    hop: Hop
    at_ms: int
    for_ms: int
    fault: Fault | None
    """None: the proxy drains."""


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
    peers = sorted({ask.peer for ask in asks})
    troubles = tuple(_trouble(chance, chance.choice(peers)) for _ in range(chance.choice((0, 1, 1, 2, 3))))
    return Schedule(seed, asks, troubles)


def _ask(chance: random.Random, number: int) -> Ask:
    words = []
    if chance.random() < 0.3:
        words.append(f"!!silence={chance.choice((0.02, 0.1))}")
    if chance.random() < 0.7:
        words.append(f"!!delay={chance.choice((0.002, 0.01, 0.02))}")
    if chance.random() < 0.5:
        words.append(f"!!repeat={chance.randint(2, 5)}")
    if chance.random() < 0.08:
        words.append("!!die")
    return Ask(
        number,
        at_ms=chance.randint(0, LAST_START_MS),
        mode="one" if chance.random() < 0.7 else "all",
        peer=chance.randrange(PEERS),
        is_stream=chance.random() < 0.5,
        directives=" ".join(words),
        leaves_after_ms=chance.randint(1, 150) if chance.random() < 0.12 else None,
    )


def _trouble(chance: random.Random, peer: int) -> Trouble:
    hop: Hop = chance.choice(("proxy", "agent"))
    is_draining = hop == "proxy" and chance.random() < 0.1
    return Trouble(
        peer,
        hop,
        at_ms=chance.randint(0, LAST_START_MS),
        for_ms=chance.randint(20, MOST_TROUBLE_MS),
        fault=None if is_draining else _fault(chance),
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
