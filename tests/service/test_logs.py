"""What is kept of the libraries' reports."""

import logging

import pytest
from switchboard_service.logs import Expected, _Forward


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
