"""What a key may do, in words that its holder can read. Pure.

    *               ask every address, and every group in every mode
    default@nas     ask one address      *@nas   every profile of a peer     work@*   this profile of every peer
    any@gpu         ask a group so       *@gpu   in every mode               any@*    every group so
    raw:nas         use the agent API of a peer                              raw:*    of every peer
    cancel-others   cancel turns of other consumers
    admin           read the audit log, drain peers

No word stands for another: who may do everything has `*`, `raw:*`, `cancel-others` and `admin`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from switchboard_coordinator.address import NAME_PATTERN, Address, Group

_PART = rf"(?:\*|{NAME_PATTERN})"
_WORD = re.compile(rf"\*|{_PART}@{_PART}|raw:{_PART}|cancel-others|admin")


class ScopeError(ValueError):
    """Words that are no scopes. Says what is allowed."""


@dataclass(frozen=True, slots=True)
class Right:
    """Something that a key may be needed for, beside asking."""

    word: str

    def __str__(self) -> str:
        return self.word


CANCEL_OTHERS: Final = Right("cancel-others")
ADMIN: Final = Right("admin")


def raw(peer: str) -> Right:
    """The right to use a peer's agent API as it is."""
    return Right(f"raw:{peer}")


@dataclass(frozen=True, slots=True)
class Scopes:
    """What one key may do."""

    words: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """The scopes that these words name.

        Raises:
            ScopeError: with all words that are none.
        """
        words = tuple(words)
        if wrong := [word for word in words if not _WORD.fullmatch(word)]:
            raise ScopeError(
                f"{', '.join(map(repr, wrong))}: a scope is *, profile@peer or mode@group (either side may be *), "
                "raw:peer, raw:*, cancel-others or admin"
            )
        return cls(words)

    def allows(self, needed: Address | Group | Right) -> bool:
        """Whether one of the words covers this."""
        kind = ":" if isinstance(needed, Right) else "@"
        if kind == "@" and "*" in self.words:
            return True
        head, _, tail = str(needed).partition(kind)
        return any(_covers(word, kind, head, tail) for word in self.words)

    def __str__(self) -> str:
        return " ".join(self.words)


ASKING: Final = Scopes(("*",))
EVERYTHING: Final = Scopes(("*", "raw:*", "cancel-others", "admin"))


def _covers(word: str, kind: str, head: str, tail: str) -> bool:
    if word == "*" or ("@" in word) != (kind == "@"):
        return False
    own_head, _, own_tail = word.partition(kind)
    return own_head in ("*", head) and own_tail in ("*", tail)
