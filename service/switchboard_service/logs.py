"""One JSON object a line on standard output: what a service logs itself, and what its libraries warn of."""

import asyncio
import logging
from typing import TYPE_CHECKING, BinaryIO, cast

import orjson
import structlog

from .output import Output, json_line, standard_output

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
        # Of a file structlog needs `write` and `flush` alone.
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", standard_output())),
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
    """One JSON line a request, of the shape that structlog's lines have, at a tenth of their cost.

    The lines of one turn of the event loop leave in one write.
    """

    def __init__(self, output: Output | None = None) -> None:
        self._output = output or standard_output()
        self._lines: list[bytes] = []

    def line(self, fields: dict[str, object]) -> None:
        """Write one line, soon. Called from the event loop; `fields` is given away."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(json_line("request", "info", fields))

    def flush(self) -> None:
        """Write what is waiting."""
        lines, self._lines = self._lines, []
        self._output.write(b"".join(lines))
