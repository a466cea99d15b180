"""What many cases come to that nobody wrote down."""

import pytest

from . import __main__ as command
from . import mutation
from .careless_proxy import DEFECTS, careless_proxy
from .fuzz import fuzz, has_enough_of_both
from .stage import proxy_process

CASES, PARTS = 20_000, 4
SEED = 9112


@pytest.mark.parametrize("part", range(PARTS))
async def test_mutated_cases_come_out_as_a_strict_reader_reads_them(
    part: int, capsys: pytest.CaptureFixture[str]
) -> None:
    size = CASES // PARTS
    async with proxy_process() as experiment:
        found = await fuzz(experiment, SEED, range(part * size, (part + 1) * size))
    with capsys.disabled():
        print(f"\nsmuggling, part {part}: {experiment.shares}")
    assert not found, "\n".join(map(str, found))
    assert experiment.shares.cases == size
    assert has_enough_of_both(experiment)


def test_a_case_is_made_again_from_its_seed_and_number() -> None:
    batches = mutation.batches(SEED, range(10, 200))
    cases = [case for batch in batches for case in batch]
    assert cases[150] == mutation.case(SEED, 160)
    assert len({case.segments for case in cases}) > 150


async def test_the_command_tells_what_it_found_and_how_to_see_it_once_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    defect = DEFECTS["takes a bare LF for the end of a line"]
    monkeypatch.setattr(command, "proxy_process", lambda: careless_proxy(defect, settle_seconds=0.3))
    assert await command.run(2000, SEED, 0) == 1
    told = capsys.readouterr().out
    number = int(told.partition("FOUND: ")[2].partition("number ")[2].split()[0])
    assert f"{b''.join(mutation.case(SEED, number).segments)!r}" in told
    assert await command.run(1, SEED, number) == 1
    assert f"SEED={SEED}" in capsys.readouterr().out


async def test_the_command_is_content_with_a_run_that_shows_something(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "proxy_process", lambda: careless_proxy(lambda data: data))
    assert await command.run(640, SEED, 0) == 0
    assert await command.run(1, SEED, 0) == 1
    assert "Too few of one kind" in capsys.readouterr().out
