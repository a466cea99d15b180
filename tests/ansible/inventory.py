"""An inventory for Ansible, as files: who the machines are, how they are reached, and what a test wants of them.

Each of the three is a file of its own, so that a test may replace any.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from .machine import Machine


def write(
    folder: Path, groups: Mapping[str, Sequence[str]], machines: Iterable[Machine], *, key: Path, known: Path
) -> None:
    """Groups of machines, and the way to each by SSH with this key and these known hosts."""
    hosts: dict[str, Any] = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
    _write(folder / "hosts.yml", {"all": {"children": hosts}})
    for machine in machines:
        connection = {
            "ansible_host": machine.lan_address,
            "ansible_user": machine.user,
            "ansible_ssh_private_key_file": str(key),
            "ansible_ssh_common_args": " ".join(ssh_options(known)),
        }
        _write(folder / "host_vars" / machine.name / "connection.yml", connection)


def describe(folder: Path, kind: str, name: str, variables: Mapping[str, Any]) -> None:
    """Variables of a machine (`kind` is host_vars) or of a group (group_vars), in place of earlier ones."""
    _write(folder / kind / name / "settings.yml", variables)


def ssh_options(known: Path) -> tuple[str, ...]:
    """What ssh is told: nothing of the user's own settings, and no host that is not in the file of known ones."""
    stated = {"StrictHostKeyChecking": "yes", "IdentitiesOnly": "yes", "ConnectTimeout": "10"}
    options = {**stated, "UserKnownHostsFile": str(known)}
    return ("-F", "none", *(word for name, value in options.items() for word in ("-o", f"{name}={value}")))


def _write(file: Path, told: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(dict(told), sort_keys=False))
