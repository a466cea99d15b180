"""Keeps what a proxy logs, as it was before it became text."""

from typing import Any


class Log:
    """The proxy's log lines as they are written, each a mapping."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def info(self, event: str, **fields: Any) -> None:
        """Takes the place of the logger's method."""
        self.lines.append({"event": event, **fields})
