"""What the proxy knows of one call on its way through: for its routing, its count and its line in the log."""

import time
from typing import TYPE_CHECKING

from switchboard_relay import Call

from .metrics import Traffic

if TYPE_CHECKING:
    from .routes import Route


class Passage:
    """What the proxy knows of one call."""

    __slots__ = (
        "address",
        "began",
        "caller",
        "is_admitted",
        "is_guesser",
        "is_told",
        "path",
        "query",
        "route",
        "traffic",
        "untold",
    )

    def __init__(self, call: Call, traffic: Traffic) -> None:
        self.began = time.perf_counter()
        self.address = call.address[0]
        self.path, mark, query = call.target.partition(b"?")
        self.query = mark + query
        self.traffic = traffic
        self.route: Route | None = None
        self.caller: str | None = None
        self.is_admitted = self.is_guesser = False
        self.is_told, self.untold = True, 0

    def line(self, call: Call, seconds: float) -> dict[str, object]:
        """The line in the log; never a query, which may hold a token."""
        line: dict[str, object] = {
            "client": self.address,
            "method": call.method.decode("ascii"),
            "path": self.path.decode("ascii"),
            "status": call.status,
            "bytes": call.body_bytes,
            "outcome": call.outcome,
            "duration_ms": round(seconds * 1000, 2),
        }
        if self.caller is not None:
            line["caller"] = self.caller
        if self.untold:
            line["untold"] = self.untold
        return line
