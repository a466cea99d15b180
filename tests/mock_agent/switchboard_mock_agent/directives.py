"""Words at the head of a message that steer the turn: `!!delay=0.4 !!repeat=40 tick`. Pure.

!!delay=0.4                         seconds before each piece of the answer
!!repeat=40                         the answer's text so many times
!!silence=5                         seconds before the first text
!!fail=401                          the model provider answers with this status; `!!status=401` is the same
!!tool=terminal:{"command": "ls"}   a tool runs first; `sleep 5` in its command makes it last as long
!!approve=make                      a tool runs first, with this command, and a person must allow it
!!history                           the answer tells what was said before, in JSON
!!hold=1                            seconds between the turn's start and the head of the answer that accepts it
!!cut                               the connection that shows the turn is cut after half of the text; a run goes on
!!die                               the same, and the turn has died
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

_WORD = re.compile(r"\s*!!([a-z]+)(?:=(?:([a-z_]+):(?=\{)|(\S+)))?")
_MOST_SECONDS, _MOST_REPEATS = 3600.0, 100_000


@dataclass(frozen=True)
class Directives:
    """What a message asks for; `text` is the rest of it."""

    delay: float = 0
    repeat: int = 1
    silence: float = 0
    fail: int | None = None
    tool: tuple[str, str] | None = None
    approve: str | None = None
    history: bool = False
    hold: float = 0
    cut: bool = False
    die: bool = False
    text: str = ""


def parse(text: str) -> Directives:
    """Read the words at the head. The first that is unknown or malformed begins the text, as it stands."""
    found = Directives()
    rest = text
    while match := _WORD.match(rest):
        name, tool, value = match.groups()
        end = match.end()
        try:
            if tool is not None:
                _, length = json.JSONDecoder().raw_decode(rest[end:])
                value, end = rest[end : end + length], end + length
            if rest[end : end + 1].strip():
                break
            found = replace(found, **_READERS[name](tool, value))
        except (KeyError, ValueError, RecursionError):
            break
        rest = rest[end:]
    return replace(found, text=text if rest == text else rest.lstrip())


def _seconds(tool: str | None, value: str | None) -> float:
    seconds = float(_plain(tool, value))
    if not 0 <= seconds <= _MOST_SECONDS:
        raise ValueError(value)
    return seconds


def _whole(tool: str | None, value: str | None, least: int, most: int) -> int:
    number = int(_plain(tool, value))
    if not least <= number <= most:
        raise ValueError(value)
    return number


def _plain(tool: str | None, value: str | None) -> str:
    if tool is not None or value is None:
        raise ValueError(value)
    return value


def _tool(tool: str | None, value: str | None) -> tuple[str, str]:
    if tool is None or value is None:
        raise ValueError(value)
    return tool, value


def _alone(tool: str | None, value: str | None) -> bool:
    if tool is not None or value is not None:
        raise ValueError(value)
    return True


_READERS: dict[str, Callable[[str | None, str | None], dict[str, Any]]] = {
    "delay": lambda tool, value: {"delay": _seconds(tool, value)},
    "repeat": lambda tool, value: {"repeat": _whole(tool, value, 1, _MOST_REPEATS)},
    "silence": lambda tool, value: {"silence": _seconds(tool, value)},
    "fail": lambda tool, value: {"fail": _whole(tool, value, 400, 599)},
    "status": lambda tool, value: {"fail": _whole(tool, value, 400, 599)},
    "tool": lambda tool, value: {"tool": _tool(tool, value)},
    "approve": lambda tool, value: {"approve": _plain(tool, value)},
    "history": lambda tool, value: {"history": _alone(tool, value)},
    "hold": lambda tool, value: {"hold": _seconds(tool, value)},
    "cut": lambda tool, value: {"cut": _alone(tool, value)},
    "die": lambda tool, value: {"die": _alone(tool, value)},
}
