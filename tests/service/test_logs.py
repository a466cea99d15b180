"""What is kept of the libraries' reports."""

import asyncio
import fcntl
import json
import logging
import os
import re

import pytest
from switchboard_service.logs import Expected, RequestLog, _Forward


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
    log = RequestLog(writing)
    log.line({"client": "100.64.0.9", "path": "/ä", "status": 200})
    await asyncio.sleep(0)
    [line] = said(reading)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z", str(line.pop("timestamp")))
    assert line == {"client": "100.64.0.9", "path": "/ä", "status": 200, "event": "request", "level": "info"}


async def test_the_lines_of_one_turn_of_the_loop_leave_in_one_write(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    log, writes, write = RequestLog(writing), [], os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(data)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    for number in range(3):
        log.line({"status": number})
    await asyncio.sleep(0)
    assert (len(writes), [line["status"] for line in said(reading)]) == (1, [0, 1, 2])


async def test_who_reads_nothing_holds_nobody_up_and_is_told_what_it_missed() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    log = RequestLog(writing)
    for number in range(400):
        log.line({"number": number})
        log.flush()
    lines = said(reading)
    log.line({"number": 400})
    log.flush()
    told, last = said(reading)
    assert [line["number"] for line in lines] == [*range(len(lines))]
    assert (told["event"], told["count"], last["number"]) == ("lines_dropped", 400 - len(lines), 400)


async def test_a_line_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    log, write = RequestLog(writing), os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:20]))
    log.line({"number": 1})
    log.flush()
    monkeypatch.undo()
    log.line({"number": 2})
    log.flush()
    assert [line["number"] for line in said(reading)] == [1, 2]


async def test_a_closed_standard_output_ends_nothing() -> None:
    reading, writing = os.pipe()
    log = RequestLog(writing)
    os.close(reading)
    log.line({"number": 1})
    log.flush()
