"""Nobody waits for whoever reads the log, and no line is cut or lost without a word."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from switchboard_service.output import Output, json_line

Write = Callable[[int, bytes], int]


def line(number: int) -> bytes:
    return json_line("numbered", "info", {"number": number})


def parsed(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """What is read from, without waiting, and what is written to; one page fits in."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def test_who_reads_nothing_holds_nobody_up_and_is_told_what_it_missed(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = Output(writing)
    for number in range(400):
        output.write(line(number))
    lines = parsed(os.read(reading, 1 << 20))
    output.write(line(400))
    told, last = parsed(os.read(reading, 1 << 20))
    assert [one["number"] for one in lines] == [*range(len(lines))]
    assert (told["event"], told["level"], told["count"]) == ("lines_dropped", "warning", 400 - len(lines))
    assert last["number"] == 400


def test_a_line_longer_than_the_pipe_is_not_waited_for_and_its_rest_comes_first(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    output = Output(writing)
    output.write(json_line("long", "info", {"text": "x" * 20_000}))
    content = b""
    for number in range(8):
        content += os.read(reading, 1 << 20)
        output.write(line(number))
    content += os.read(reading, 1 << 20)
    events = [one["event"] for one in parsed(content)]
    assert (events[0], events[-1], "lines_dropped" in events) == ("long", "numbered", True)


@pytest.mark.parametrize("turns", [["full"], ["20 bytes", "full", "full"], ["20 bytes", "20 bytes", "full"]])
def test_after_a_full_disk_no_line_is_cut_and_the_count_is_right(
    turns: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(_: int, __: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def cutting(write: Write) -> Write:
        writes = iter([lambda descriptor, data: write(descriptor, data[:20]), refusing])
        return lambda descriptor, data: next(writes)(descriptor, data)

    path, write = tmp_path / "log", os.write
    with path.open("wb") as file:
        output = Output(file.fileno())
        for number, turn in enumerate(turns):
            monkeypatch.setattr(os, "write", refusing if turn == "full" else cutting(write))
            output.write(line(2 * number) + line(2 * number + 1))
        monkeypatch.undo()
        output.write(line(100))
        output.write(line(101))
    lines = parsed(path.read_bytes())
    kept = [one["number"] for one in lines if one["event"] == "numbered"]
    [told] = [one for one in lines if one["event"] == "lines_dropped"]
    assert kept[-2:] == [100, 101]
    assert told["count"] == 2 * len(turns) + 2 - len(kept)


def test_a_disk_that_is_always_full_and_a_closed_pipe_end_nothing() -> None:
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123 - a device
        for number in range(3):
            Output(full.fileno()).write(line(number))
    reading, writing = os.pipe()
    os.close(reading)
    output = Output(writing)
    for number in range(3):
        output.write(line(number))
    os.close(writing)


BOTH_LOGS = """
import asyncio, structlog
from switchboard_service import logs

async def main():
    requests = logs.RequestLog()
    for number in range(2000):
        requests.line({"number": number, "path": "/v1/models"})
        structlog.get_logger().info("request", number=number, path="/v1/models")
        await asyncio.sleep(0)

logs.configure()
asyncio.run(main())
"""


def both_logs(output: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", BOTH_LOGS], stdout=output, stderr=subprocess.PIPE)


def ended_well(process: "subprocess.Popen[bytes]") -> bool:
    _, said = process.communicate(timeout=60)
    return (process.returncode, said) == (0, b"")


def test_the_two_logs_of_a_process_write_lines_of_one_shape(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        assert ended_well(both_logs(file.fileno()))
    lines = parsed((tmp_path / "log").read_bytes())
    assert len(lines) == 4000
    assert {tuple((name, type(value)) for name, value in sorted(one.items())) for one in lines} == {
        (("event", str), ("level", str), ("number", int), ("path", str), ("timestamp", str))
    }
    assert {len(one["timestamp"]) for one in lines} <= {len("2026-01-01T00:00:00.123456Z"), len("2026-01-01T00:00:00Z")}
    assert {(one["event"], one["level"]) for one in lines} == {("request", "info")}


def test_a_reader_that_stands_still_or_left_holds_up_no_process_and_ends_none() -> None:
    reading, writing = os.pipe()
    assert ended_well(both_logs(writing))
    os.close(writing)
    with open(reading, "rb") as kept:  # noqa: PTH123 - a descriptor
        whole, _, begun = kept.read().rpartition(b"\n")
    assert len(parsed(whole)) > 100
    assert len(begun) < 200
    reading, writing = os.pipe()
    os.close(reading)
    assert ended_well(both_logs(writing))
    os.close(writing)
