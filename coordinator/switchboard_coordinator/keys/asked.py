"""One request as it is known beyond its surface: who asks, and what its key is good for."""

import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any

from switchboard_relay.wire import Header

from switchboard_coordinator.address import Address, Group
from switchboard_coordinator.errors import InsufficientScope, RateLimitExceeded

from .audit import Audit
from .consumers import NOBODY, Consumer
from .rate import Rates
from .scopes import Right


@dataclass(slots=True)
class Asked:
    """One request as it is known beyond its surface; `line` is filled on the way and logged at the end."""

    request_id: str
    audit: Audit = field(default_factory=Audit)
    rates: Rates = field(default_factory=Rates)
    who: Consumer = NOBODY
    line: dict[str, Any] = field(default_factory=dict)
    headers: list[Header] = field(default_factory=list)
    """What the answer carries beside its surface's own."""

    @property
    def consumer(self) -> str:
        """The name of who asks; empty where nobody needs a key."""
        return self.who.name

    def require(self, needed: Address | Group | Right) -> None:
        """Let the request go on only if its key is good for this: to ask an address or a group, or another right.

        Raises:
            InsufficientScope: it is not; the audit log has it.
        """
        if self.who.scopes.allows(needed):
            return
        self.note("request", str(needed), InsufficientScope.code)
        raise InsufficientScope(f"this key lacks the scope {needed}; it has {self.who.scopes or 'none'}")

    def count_turn(self) -> None:
        """Count one new turn against the rate of the consumer's key; call it once a turn, before it is opened.

        Raises:
            RateLimitExceeded: there are too many; the audit log has it.
        """
        limit = self.who.turns_per_minute
        if limit is None:
            return
        left = self.rates.take(self.who.name, limit, time.monotonic())
        self.headers += (
            (b"x-ratelimit-limit-requests", b"%d" % left.limit),
            (b"x-ratelimit-remaining-requests", b"%d" % left.remaining),
            (b"x-ratelimit-reset-requests", b"%ds" % left.reset_seconds),
        )
        if not left.is_allowed:
            self.note("request", "turn", RateLimitExceeded.code)
            raise RateLimitExceeded(
                f"this key may open {limit} turns a minute; the next in {left.retry_after_seconds} s",
                retry_after=str(left.retry_after_seconds),
            )

    def note(self, action: str, subject: str, outcome: str = "done") -> None:
        """Put into the audit log what this request did, or was refused."""
        self.audit.note(self.who.name, action, subject, outcome, request_id=self.request_id)

    @staticmethod
    def of(scope: MutableMapping[str, Any]) -> "Asked":
        """What the edge noted of this request."""
        asked: Asked = scope["switchboard"]
        return asked
