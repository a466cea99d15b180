"""What is kept of the libraries' reports, and the lines of requests."""

import asyncio
import json
import logging
import os
import re

import pytest
from switchboard_service.logs import Expected, RequestLog, _Forward
from switchboard_service.output import Output


class Meant(Exception):
    pass


def record(error: BaseException | None) -> logging.LogRecord:
    info = (type(error), error, None) if error else None
    return logging.LogRecord("uvicorn.error", logging.ERROR, "file", 1, "words", (), info)


def test_only_what_was_meant_is_dropped() -> None:
    kept = Expected((Meant,))
    assert kept.filter(record(None))
    assert kept.filter(record(KeyError()))
    assert not kept.filter(record(Meant()))
    assert not kept.filter(record(BaseExceptionGroup("", [Meant(), Meant()])))
    assert kept.filter(record(BaseExceptionGroup("", [Meant(), KeyError()])))


def test_a_report_that_cannot_be_written_ends_nothing_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    broken = logging.LogRecord("uvicorn.error", logging.ERROR, "file", 1, "%d", ("no number",), None)
    _Forward().handle(broken)
    assert "--- Logging error ---" in capsys.readouterr().err


def said(descriptor: int) -> list[dict[str, object]]:
    return [json.loads(line) for line in os.read(descriptor, 1 << 20).splitlines()]


async def test_a_request_line_has_the_shape_of_every_other_line() -> None:
    reading, writing = os.pipe()
    log = RequestLog(Output(writing))
    log.line({"client": "100.64.0.9", "path": "/ä", "status": 200})
    await asyncio.sleep(0)
    [line] = said(reading)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", str(line.pop("timestamp")))
    assert line == {"client": "100.64.0.9", "path": "/ä", "status": 200, "event": "request", "level": "info"}


async def test_the_lines_of_one_turn_of_the_loop_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    log, writes, write = RequestLog(Output(writing)), [], os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    for number in range(3):
        log.line({"status": number})
    await asyncio.sleep(0)
    assert (len(writes), [line["status"] for line in said(reading)]) == (1, [0, 1, 2])
