"""Where a turn goes: one profile of one peer, or a group of such addresses under a mode. Pure.

Names are lower-case letters, digits and hyphens. No profile is named like a mode, so that a model id has one reading.
"""

import re
from dataclasses import dataclass
from typing import Self

NAME_PATTERN = "[a-z0-9][a-z0-9-]*"
MODES = ("any", "first", "all", "quorum", "council")
DEFAULT_PROFILE = "default"
FLEET = "fleet"
"""The group of all addresses."""

_NAME = re.compile(NAME_PATTERN)
_SHOWN_LENGTH = 80


class AddressError(ValueError):
    """The text is no model id. Says what is allowed."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One profile of one peer: where one lane goes."""

    profile: str
    peer: str

    @classmethod
    def of(cls, text: str) -> Self:
        """The address that `str` of one gave."""
        profile, _, peer = text.partition("@")
        return cls(profile, peer)

    def __str__(self) -> str:
        return f"{self.profile}@{self.peer}"


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """All addresses that share a capability, and how their lanes make one answer."""

    mode: str
    name: str

    def __str__(self) -> str:
        return f"{self.mode}@{self.name}"


def is_name(text: str) -> bool:
    """Whether a peer, a profile, a capability or a consumer may be called so."""
    return _NAME.fullmatch(text) is not None


def parse_target(text: str) -> Address | Group:
    """Read a model id: `profile@peer`, `mode@group`, or a peer's name alone for its default profile.

    Raises:
        AddressError: it is none of these.
    """
    head, at, tail = text.partition("@")
    if not is_name(head) or (at and not is_name(tail)):
        raise AddressError(
            f"{text[:_SHOWN_LENGTH]!r} is no model id: it takes profile@peer, peer or mode@group, "
            "with names of lower-case letters, digits and hyphens"
        )
    if not at:
        return Address(DEFAULT_PROFILE, head)
    return Group(head, tail) if head in MODES else Address(head, tail)
