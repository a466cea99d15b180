"""What is kept of the libraries' reports."""

import logging

from switchboard_service.logs import Expected


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
