"""Standard output, of which only as much is used as it takes at once.

Knows lines, not what is in them. Nobody waits for whoever reads them: neither a full disk nor a closed pipe nor a
reader that stands still holds up a service or raises an error in it.
"""

import os
import select
import stat
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from threading import Lock

import orjson


class Output:
    """Writes whole lines to a descriptor. What is not taken is dropped, and told before the next that is."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._at_once = sys.maxsize if self._is_file else select.PIPE_BUF
        self._poll = select.poll()
        if not self._is_file:
            self._poll.register(descriptor, select.POLLOUT)
        self._lock = Lock()
        self._rest = b""
        self._dropped = 0

    def write(self, lines: bytes) -> None:
        """Write lines, each with its end, as far as they are taken. From any thread."""
        with self._lock:
            notice = json_line("lines_dropped", "warning", {"count": self._dropped}) if self._dropped else b""
            data, written = self._rest + notice + lines, 0
            with suppress(OSError):
                while written < len(data) and self._takes():
                    written += os.write(self._descriptor, data[written : written + self._at_once])
            if written == len(data):
                self._dropped, self._rest = 0, b""
                return
            # A line that was begun is never cut: the rest of it goes first next time.
            begun = data.find(b"\n", written - 1) + 1 if written else len(self._rest)
            dropped = data.count(b"\n", begun)
            if notice and begun == len(self._rest):
                dropped += self._dropped - 1
            self._dropped, self._rest = dropped, data[written:begun]

    def flush(self) -> None:
        """Nothing is held back that would be taken; loggers call this of a file."""

    def _takes(self) -> bool:
        """Whether a write of `_at_once` bytes returns at once: for a pipe so many are promised (POSIX, poll)."""
        return self._is_file or bool(self._poll.poll(0))


@cache
def standard_output() -> Output:
    """The one of this process: whoever writes there does it through this, so that no line gets into another."""
    return Output(1)


def json_line(event: str, level: str, fields: dict[str, object]) -> bytes:
    """A line of the shape that structlog's lines have, made with a fraction of their work; adds to `fields`."""
    fields["event"], fields["level"], fields["timestamp"] = event, level, datetime.now(UTC)
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)
