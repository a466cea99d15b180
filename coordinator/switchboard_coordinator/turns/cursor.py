"""How far a reader of a turn has come. Pure."""

import re
from dataclasses import dataclass
from typing import Self

from switchboard_coordinator.errors import MalformedRequest

_CURSOR = re.compile("([0-9]{1,12})(?:-([0-9]{1,6}))?")


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event that a reader has, and how often the turn's coordinator had restarted when it got it.

    Written `57`, or `57-1` after a restart: what was shown within a moment of a crash may be lost, and other events may
    have its ids since, so a cursor from before is answered with a snapshot.
    """

    event: int
    restarts: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """The cursor of `Last-Event-ID` or `?after=`.

        Raises:
            MalformedRequest: it is none.
        """
        match = _CURSOR.fullmatch(text.strip())
        if match is None:
            raise MalformedRequest("`after` or Last-Event-ID is the id of an event, such as 57", param="after")
        return cls(int(match[1]), int(match[2] or 0))

    def __str__(self) -> str:
        return f"{self.event}-{self.restarts}" if self.restarts else str(self.event)
