"""Keeps what a proxy logs of its requests, as it was before it became text."""

from typing import Any

from switchboard_service.logs import RequestLog


class Log(RequestLog):
    """The request lines as they are written, each a mapping."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    def line(self, fields: dict[str, Any]) -> None:
        """Takes the place of writing."""
        self.lines.append(fields)
