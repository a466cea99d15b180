"""One JSON object a line on standard output: what a service logs itself, and what its libraries warn of."""

import asyncio
import logging
import os
import select
import stat
import sys
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable


def configure(expected: "Iterable[type[BaseException]]" = ()) -> None:
    """Send structlog and the standard library's logging to standard output. Called once, before the first line.

    Args:
        expected: errors that an app raises on purpose to break off an answer; uvicorn's report of them is dropped.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _Forward()
    handler.addFilter(Expected(tuple(expected)))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "httpx"):
        logging.getLogger(name).setLevel(logging.NOTSET)  # the root's level holds, whatever they set before


class Expected(logging.Filter):
    """Drops records whose exception is of one of these types, or is a group of nothing else."""

    def __init__(self, types: tuple[type[BaseException], ...]) -> None:
        super().__init__()
        self._types = types

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is kept."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, BaseExceptionGroup):
            return error.split(self._types)[1] is not None
        return not isinstance(error, self._types)


class _Forward(logging.Handler):
    """Carries a record over to structlog."""

    def __init__(self) -> None:
        super().__init__()
        self._log = structlog.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._log.log(
                record.levelno, record.getMessage().strip(), logger=record.name, exc_info=record.exc_info or False
            )
        except Exception:  # noqa: BLE001  # logging must never end a request; handleError tells standard error
            self.handleError(record)


class RequestLog:
    """One JSON line a request on standard output, of the shape that structlog's lines have, at a tenth of their cost.

    The lines of one turn of the event loop leave in one write. A standard output that takes nothing (a full disk, a
    closed pipe, a reader that stands still) never holds up a request: lines are dropped, and how many stands before
    the next that can be written.
    """

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._at_once = sys.maxsize if self._is_file else select.PIPE_BUF
        self._lines: list[bytes] = []
        self._rest = b""
        self._dropped = 0

    def line(self, fields: dict[str, object]) -> None:
        """Write one line, soon. Called from the event loop."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(_line("request", fields))

    def flush(self) -> None:
        """Write what is waiting, as far as it is taken at once."""
        if self._dropped and self._takes():
            self._lines.insert(0, _line("lines_dropped", {"count": self._dropped}))
            self._dropped = 0
        data, written = self._rest + b"".join(self._lines), 0
        self._lines, self._rest = [], b""
        with suppress(OSError):
            while written < len(data) and self._takes():
                written += os.write(self._descriptor, data[written : written + self._at_once])
        if written < len(data):  # a line is never cut: what is left of it goes first next time
            is_at_start = written == 0 or data[written - 1 : written] == b"\n"
            end = written if is_at_start else data.find(b"\n", written) + 1
            self._rest = data[written:end]
            self._dropped += data.count(b"\n", end)

    def _takes(self) -> bool:
        """Whether a write of `_at_once` bytes returns at once: for a pipe so many are promised (POSIX, poll)."""
        return self._is_file or bool(select.select((), (self._descriptor,), (), 0)[1])


def _line(event: str, fields: dict[str, object]) -> bytes:
    fields["event"], fields["level"], fields["timestamp"] = event, "info", datetime.now(UTC)
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
