#!/usr/bin/python
"""What of hermes-agent runs on a machine, and where it listens: read from /proc, by whoever may read all of it.

Knows nothing of inventories, keys or units' contents. Facts of hermes-agent 0.19.0: a gateway keeps `gateway.lock` of
its HERMES_HOME open as long as it runs; a profile's HERMES_HOME is `profiles/<name>` in that of the default one.
"""

from __future__ import annotations

import pwd
import socket
import struct
from pathlib import Path, PurePosixPath

DOCUMENTATION = r"""
module: hermes_seen
short_description: What of hermes-agent runs on this machine, and where it listens
description:
  - Finds gateways and dashboards of hermes-agent among the processes. Changes nothing.
options:
  marks:
    description: Names of environment variables that are reported with each process that has them.
    type: list
    elements: str
    default: []
author: The Hermes Switchboard developers
"""

EXAMPLES = r"""
- name: Look for gateways
  hermes_seen:
  register: seen
"""

RETURN = r"""
processes:
  description: Each gateway and dashboard, by pid.
  returned: always
  type: list
  elements: dict
  sample: [{kind: gateway, pid: 812, home: /root/.hermes, user: root, unit: hermes-gateway.service, marks: {}}]
homes:
  description: Folders .hermes of users that hold an C(.env).
  returned: always
  type: list
  elements: str
  sample: [/root/.hermes]
listening:
  description: For each TCP port on which anything listens, the addresses.
  returned: always
  type: dict
  sample: {"8642": ["127.0.0.1"]}
"""

LISTENING = "0A"  # the kernel's number for TCP_LISTEN
SELECTORS = {"-p", "--profile"}


def split(arguments: list[str]) -> tuple[list[str], str]:
    """The command behind the program's name, without its profile selector, and the profile selected, or nothing.

    An empty command for any other program.
    """
    for place, argument in enumerate(arguments[:3]):  # perhaps behind an interpreter and its -m
        if argument == "hermes_cli.main" or argument.endswith("hermes_cli/main.py") or _name(argument) == "hermes":
            command, profile, rest = [], "", iter(arguments[place + 1 :])
            for word in rest:
                flag, _, value = word.partition("=")
                if flag in SELECTORS:
                    profile = value or next(rest, "")
                else:
                    command.append(word)
            return command, profile
    return [], ""


def kind(command: list[str]) -> str | None:
    """`gateway` or `dashboard` for a command that serves; None for any other, `gateway stop` too."""
    if command[:1] == ["gateway"] and not {"--help", "-h"} & set(command):
        return "gateway" if (command[1:2] or ["run"])[0] in {"run", "restart"} else None  # alone it runs
    if command[:1] == ["dashboard"] and not {"--help", "-h", "--stop", "--status"} & set(command):
        return "dashboard"
    return None


def home(profile: str, environment: dict[str, str], open_files: list[str], user_home: str) -> str:
    """Its HERMES_HOME: that whose lock it holds; before it does, what it was told."""
    for file in open_files:
        if _name(file) == "gateway.lock":
            return str(PurePosixPath(file).parent)
    user_home = environment.get("HOME") or user_home
    told = PurePosixPath(environment.get("HERMES_HOME") or PurePosixPath(user_home, ".hermes"))
    return str(told if profile in {"", "default"} else told / "profiles" / profile)


def unit(cgroup: str) -> str:
    """The systemd unit in the text of /proc/PID/cgroup, or nothing."""
    parts = [part for line in cgroup.splitlines() for part in line.split("/") if part.endswith((".service", ".scope"))]
    return parts[-1] if parts else ""


def address(hexadecimal: str) -> str:
    """`0100007F` as the kernel writes it: `127.0.0.1`. An IPv4 address in IPv6 clothes is shown as IPv4."""
    words = [int(hexadecimal[place : place + 8], 16) for place in range(0, len(hexadecimal), 8)]
    raw = struct.pack(f"={len(words)}I", *words)
    if len(raw) == 16 and raw[:12] == bytes(10) + b"\xff\xff":
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw)


def listening(table: str) -> list[tuple[int, str]]:
    """Port and address of each listener in the text of /proc/net/tcp or tcp6."""
    rows = [row.split() for row in table.splitlines()[1:]]
    places = [row[1].split(":") for row in rows if row[3] == LISTENING]
    return [(int(port, 16), address(where)) for where, port in places]


def _name(path: str) -> str:
    return PurePosixPath(path).name


def main() -> None:
    """Look once, and tell."""
    from ansible.module_utils.basic import AnsibleModule  # here, so that what is above can be tested without Ansible

    module = AnsibleModule({"marks": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True)
    marks = module.params["marks"]
    folders = sorted(
        (folder for folder in Path("/proc").iterdir() if folder.name.isdigit()), key=lambda at: int(at.name)
    )
    processes = [found for found in (_process(folder, marks) for folder in folders) if found]
    listeners: dict[str, list[str]] = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):  # the second is missing where IPv6 is off
        for port, where in listening(table.read_text()) if table.exists() else []:
            listeners.setdefault(str(port), []).append(where)
    module.exit_json(changed=False, processes=processes, homes=_homes(), listening=listeners)


def _homes() -> list[str]:
    folders = {str(Path(user.pw_dir) / ".hermes") for user in pwd.getpwall()}
    return sorted(folder for folder in folders if Path(folder, ".env").is_file())


def _process(folder: Path, marks: list[str]) -> dict[str, object] | None:
    try:
        command, profile = split(_strings(folder / "cmdline"))
        what = kind(command)
        if what is None:
            return None
        environment = dict(pair.split("=", 1) for pair in _strings(folder / "environ") if "=" in pair)
        user, user_home = _owner(folder)
        return {
            "kind": what,
            "pid": int(folder.name),
            "user": user,
            "home": home(profile, environment, _open_files(folder), user_home),
            "unit": unit((folder / "cgroup").read_text()),
            "marks": {name: environment[name] for name in marks if name in environment},
        }
    except OSError:  # it ended meanwhile
        return None


def _owner(folder: Path) -> tuple[str, str]:
    number = folder.stat().st_uid
    try:
        user = pwd.getpwuid(number)
    except KeyError:  # a user of some container
        return str(number), "/"
    return user.pw_name, user.pw_dir


def _strings(file: Path) -> list[str]:
    return [text for text in file.read_text(errors="replace").split("\0") if text]


def _open_files(folder: Path) -> list[str]:
    found = []
    for link in (folder / "fd").iterdir():
        try:
            found.append(str(link.readlink()))
        except OSError:  # closed meanwhile
            continue
    return found


if __name__ == "__main__":
    main()
