"""What the documents for operators name is there: commands, files and tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "docs/operations.md"]
CODE = re.compile(r"^    .*$|`[^`\n]+`", re.MULTILINE)
TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")
PLACE = re.compile(r"(?<![\w./-])(?:tests|ansible|docs|images|compose|scripts)/[\w./*-]*\w")
OPERATORS_OWN = re.compile(r"ansible/inventories/(?!example)")


def commands_in(page: str) -> str:
    """What is set as code."""
    return "\n".join(CODE.findall((ROOT / page).read_text()))


@pytest.mark.parametrize("page", PAGES)
def test_every_target_that_is_named_can_be_made(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(TARGET.findall(commands_in(page)))
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_is_there(page: str) -> None:
    named = {place for place in PLACE.findall(commands_in(page)) if not OPERATORS_OWN.match(place)}
    assert named
    assert [place for place in sorted(named) if not any(ROOT.glob(place))] == []
