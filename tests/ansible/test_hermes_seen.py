"""The module `hermes_seen`: what it makes of command lines, environments and the kernel's tables."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).parents[2] / "ansible/roles/agent/library/hermes_seen.py"


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("ansible_module_hermes_seen", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


seen = _loaded()

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:21C2 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 1 1
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0100007F:21C2 0100007F:C350 01 00000000:00000000 00:00000000 00000000   999        0 3 1
"""


@pytest.mark.parametrize(
    ("line", "kind", "profile"),
    [
        ("/opt/x/bin/python /opt/x/bin/hermes gateway run", "gateway", ""),
        ("python -m hermes_cli.main -p work gateway run", "gateway", "work"),
        ("/root/agent/venv/bin/python /root/agent/hermes_cli/main.py gateway run --profile=work", "gateway", "work"),
        ("hermes --profile gateway gateway", "gateway", "gateway"),
        ("hermes gateway restart", "gateway", ""),
        ("hermes gateway stop", None, ""),
        ("hermes gateway --help", None, ""),
        ("hermes dashboard --host 0.0.0.0 --port 9119", "dashboard", ""),
        ("hermes dashboard --stop", None, ""),
        ("hermes chat", None, ""),
        ("vim hermes/gateway/run.py", None, ""),
        ("python -m tui_gateway run", None, ""),
        ("", None, ""),
    ],
)
def test_a_command_line_tells_what_serves_and_for_which_profile(line: str, kind: str | None, profile: str) -> None:
    command, selected = seen.split(line.split())
    assert (seen.kind(command), selected) == (kind, profile)


def test_a_gateway_serves_the_home_whose_lock_it_holds() -> None:
    open_files = ["/dev/null", "/srv/hermes/gateway.lock"]
    assert seen.home("work", {"HERMES_HOME": "/elsewhere"}, open_files, "/root") == "/srv/hermes"


@pytest.mark.parametrize(
    ("profile", "environment", "home"),
    [
        ("", {"HERMES_HOME": "/srv/hermes"}, "/srv/hermes"),
        ("", {"HOME": "/home/me"}, "/home/me/.hermes"),
        ("", {}, "/root/.hermes"),
        ("default", {}, "/root/.hermes"),
        ("work", {}, "/root/.hermes/profiles/work"),
    ],
)
def test_without_a_lock_it_serves_the_home_that_it_was_told(
    profile: str, environment: dict[str, str], home: str
) -> None:
    assert seen.home(profile, environment, ["/dev/null"], "/root") == home


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/hermes-gateway.service\n", "hermes-gateway.service"),
        ("0::/system.slice/system-hermes.slice/hermes-gateway@work.service\n", "hermes-gateway@work.service"),
        ("12:cpu:/\n1:name=systemd:/user.slice/user-0.slice/session-3.scope\n", "session-3.scope"),
        ("0::/\n", ""),
    ],
)
def test_a_cgroup_tells_the_unit(cgroup: str, unit: str) -> None:
    assert seen.unit(cgroup) == unit


def test_only_listeners_of_the_kernels_table_count() -> None:
    assert seen.listening(TABLE) == [(8642, "127.0.0.1"), (22, "0.0.0.0")]


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("0100007F", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1"),
        ("00000000000000000000000000000000", "::"),
        ("0000000000000000FFFF00000100007F", "127.0.0.1"),
    ],
)
def test_addresses_are_read_as_the_kernel_writes_them(written: str, address: str) -> None:
    assert seen.address(written) == address
