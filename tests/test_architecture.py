"""Imports run one way, and pure modules stay pure."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MEMBERS = {
    "relay/switchboard_relay": set(),
    "service/switchboard_service": set(),
    "proxy/switchboard_proxy": {"switchboard_relay", "switchboard_service"},
    "coordinator/switchboard_coordinator": {"switchboard_relay", "switchboard_service"},
}
IMPURE = {"asyncio", "httpx", "starlette", "socket", "uvicorn", "structlog"}
ROOMS = ["keys", "peers", "groups", "turns", "surfaces", "doctor", "command"]
"""The rooms of the coordinator; each knows only those before it, and the modules above all of them."""
JOINS = {"app"}
"""What joins the rooms, and is known to the command alone."""


def pure_modules() -> list[str]:
    """The modules that promise in their first words to be pure."""
    files = [file for folder in MEMBERS for file in (ROOT / folder).rglob("*.py")]
    words = {file: ast.get_docstring(ast.parse(file.read_text())) or "" for file in files}
    return [str(file.relative_to(ROOT)) for file, told in words.items() if "Pure" in told]


def imported(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports; relative ones are left out."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", MEMBERS)
def test_a_member_imports_only_the_members_below_it(folder: str) -> None:
    package = folder.split("/")[1]
    files = list((ROOT / folder).rglob("*.py"))
    assert files
    for file in files:
        ours = {name for name in imported(file) if name.startswith("switchboard_")} - {package}
        assert ours <= MEMBERS[folder], f"{file.name} imports {ours - MEMBERS[folder]}"


@pytest.mark.parametrize("file", pure_modules())
def test_a_pure_module_knows_no_io(file: str) -> None:
    assert not imported(ROOT / file) & IMPURE


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_a_room_knows_only_the_rooms_before_it(room: str) -> None:
    package = ROOT / "coordinator/switchboard_coordinator"
    files = [file for file in (package / room).glob("*.py") if room or file.stem not in JOINS]
    assert files
    after = ROOMS[ROOMS.index(room) + 1 :] if room else ROOMS
    for file in files:
        text = file.read_text()
        for other in after:
            assert f"switchboard_coordinator.{other}" not in text, f"{file.name} knows {other}"
            assert f"from .{other}" not in text, f"{file.name} knows {other}"


def test_what_a_member_imports_it_declares() -> None:
    for folder, below in MEMBERS.items():
        member = ROOT / folder.split("/")[0]
        declared = (member / "pyproject.toml").read_text()
        used = set().union(*(imported(file) for file in (ROOT / folder).rglob("*.py")))
        for name in used & below:
            assert f'"{name.replace("_", "-")}"' in declared


def test_a_proxy_starts_without_what_only_a_coordinator_needs() -> None:
    script = "import sys, switchboard_proxy.cli; print(*{name.split('.')[0] for name in sys.modules})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert not {"httpx", "httpcore", "uvicorn", "starlette", "anyio", "typer", "yaml"} & {*told.stdout.split()}
