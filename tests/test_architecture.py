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
PURE = [
    "relay/switchboard_relay/wire.py",
    *(
        f"proxy/switchboard_proxy/{name}.py"
        for name in ("cookie", "credentials", "door", "errors", "headers", "lockout", "routes")
    ),
    *(
        f"coordinator/switchboard_coordinator/{name}.py"
        for name in (
            "address",
            "breaker",
            "chair",
            "chat",
            "chunks",
            "errors",
            "failure",
            "fanout",
            "health",
            "lane_printer",
            "look",
            "modes",
            "options",
            "openapi_routes",
            "openapi_shapes",
            "queueing",
            "raw_crossing",
            "response_request",
            "rate",
            "roster",
            "routing",
            "scopes",
            "session",
            "sse",
            "turn",
            "yaml_lines",
        )
    ),
]


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
    files = list((ROOT / folder).glob("*.py"))
    assert files
    for file in files:
        ours = {name for name in imported(file) if name.startswith("switchboard_")} - {package}
        assert ours <= MEMBERS[folder], f"{file.name} imports {ours - MEMBERS[folder]}"


@pytest.mark.parametrize("file", PURE)
def test_a_pure_module_knows_no_io(file: str) -> None:
    assert not imported(ROOT / file) & IMPURE


def test_what_a_member_imports_it_declares() -> None:
    for folder, below in MEMBERS.items():
        member = ROOT / folder.split("/")[0]
        declared = (member / "pyproject.toml").read_text()
        used = set().union(*(imported(file) for file in (ROOT / folder).glob("*.py")))
        for name in used & below:
            assert f'"{name.replace("_", "-")}"' in declared


def test_a_proxy_starts_without_what_only_a_coordinator_needs() -> None:
    script = "import sys, switchboard_proxy.cli; print(*{name.split('.')[0] for name in sys.modules})"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert not {"httpx", "httpcore", "uvicorn", "starlette", "anyio", "typer", "yaml"} & {*told.stdout.split()}
