#!/usr/bin/python
"""What ran before: an Ansible module that keeps the files of a service and takes them back.

It knows files, snapshots and two links, nothing of containers. Pure functions decide what the end is (`wanted`); the
way there has one order, so that a run that was killed anywhere ends the same when it is run again.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release
short_description: Keep the files of a service that were proved to work, and take them back
description:
  - A snapshot of the named files, with their owners and modes, is a folder in C(releases/), called by a digest of them.
    The link C(releases/proven) leads to what was last proved to work, C(releases/previous) to what was before that.
    Snapshots that no link leads to are removed.
  - A run that was killed at any point ends the same when it is run again. Files and links are replaced atomically.
options:
  folder:
    description: The folder that holds the files; C(releases/) is made in it.
    type: path
    required: true
  files:
    description: Names of files in the folder that make a release; one that is not there belongs to it by its absence.
    type: list
    elements: str
    required: true
  state:
    description:
      - V(proven) - the files as they are were proved to work. What was proven before becomes the previous release.
      - V(withdrawn) - files that were never proved are replaced by the proven ones; the links stay.
      - V(restored) - one release back. Files that were never proved are replaced by the proven ones, proven ones by the
        previous ones. What is gone back to has nothing before it, so that doing it again changes nothing.
      - V(seen) - nothing is changed.
      - Without a release to go back to, V(withdrawn) and V(restored) change nothing.
    type: str
    choices: [proven, withdrawn, restored, seen]
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Remember what was proved
  release:
    folder: /etc/switchboard/proxy
    files: [proxy.yaml, .env]
    state: proven

- name: Go back
  release:
    folder: /etc/switchboard/proxy
    files: [proxy.yaml, .env]
    state: restored
  notify: Restart the proxy
"""

RETURN = r"""
releases:
  description: The digests of the releases C(current), C(proven), C(previous) after the run; null where there is none.
  type: dict
  returned: always
target:
  description:
    - The digest of the release that is current after the run; null where there is none.
    - With V(seen), of the one that V(restored) would make current.
  type: str
  returned: always
images:
  description:
    - The values of C(*_IMAGE=) in the C(.env) of the releases C(current), C(proven), C(previous) and C(target).
    - A list for each, empty where there is none.
  type: dict
  returned: always
"""


class File(NamedTuple):
    """One file of a release."""

    content: bytes
    mode: int
    owner: int
    group: int


Release = dict[str, File]
"""Name to file; empty where there is none."""


class Releases(NamedTuple):
    """What is there, or is to be there."""

    current: Release
    proven: Release
    previous: Release


def wanted(state: str, there: Releases) -> Releases:
    """Tell the end of a run. Pure.

    Wanting again what is wanted changes nothing, and neither does wanting it from any point of the way that `go` takes.
    """
    current, proven, previous = there
    if state == "proven" and current != proven:
        return Releases(current, current, proven)
    if state == "withdrawn" and proven:
        return Releases(proven, proven, previous)
    if state == "restored" and proven:
        back = (previous or proven) if current == proven else proven
        return Releases(back, back, back if previous else {})
    return there


def digest(release: Release) -> str | None:
    """Name a release by its files' names, contents, owners and modes. Pure."""
    if not release:
        return None
    told = [(name, hashlib.sha256(one.content).hexdigest(), *one[1:]) for name, one in sorted(release.items())]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def images(release: Release) -> list[str]:
    """List the images that the release's `.env` names. Pure."""
    content = release[".env"].content.decode("utf-8", "replace") if ".env" in release else ""
    return [value for value in re.findall(r"^\w*_IMAGE=[\"']?(.*?)[\"']?\s*$", content, re.MULTILINE) if value]


def differences(before: Releases, after: Releases, folder: Path) -> list[dict[str, str]]:
    """Tell in Ansible's form what differs. Pure."""
    found = []
    for name in sorted(before.current.keys() | after.current.keys()):
        old, new = before.current.get(name), after.current.get(name)
        if old != new:
            title = str(folder / name)
            found.append({"before_header": title, "after_header": title, "before": _shown(old), "after": _shown(new)})
    for link in ("previous", "proven"):
        old_digest, new_digest = digest(getattr(before, link)), digest(getattr(after, link))
        if old_digest != new_digest:
            title = str(folder / "releases" / link)
            before_text, after_text = (f"{one}\n" if one else "" for one in (old_digest, new_digest))
            found.append({"before_header": title, "after_header": title, "before": before_text, "after": after_text})
    return found


def _shown(one: File | None) -> str:
    if one is None:
        return ""
    return f"# owner {one.owner}:{one.group}, mode {one.mode:04o}\n" + one.content.decode("utf-8", "replace")


def read(folder: Path, names: Iterable[str]) -> Release:
    """Read the release that a folder holds."""
    found = {}
    for name in sorted(names):
        try:
            with (folder / name).open("rb") as file:
                facts = os.fstat(file.fileno())
                found[name] = File(file.read(), stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid)
        except FileNotFoundError:
            continue
    return found


def read_snapshot(link: Path) -> Release:
    """Read the release that a link leads to."""
    return read(link, [path.name for path in link.iterdir()]) if link.is_dir() else {}


def litter(kept: Path, after: Releases) -> list[Path]:
    """List what no link will lead to: snapshots, and what a run left that was killed."""
    stays = {"proven", "previous", digest(after.proven), digest(after.previous)}
    return sorted(path for path in kept.iterdir() if path.name not in stays) if kept.is_dir() else []


def go(folder: Path, before: Releases, after: Releases) -> None:
    """Make it so: the snapshot, then the links, then the files, then the rest is swept.

    The order is what `wanted` counts on. Nothing is cleaned up on the way: a failure leaves what SIGKILL would leave.
    """
    kept = folder / "releases"
    kept.mkdir(mode=0o700, exist_ok=True)
    _keep(kept, after.proven)
    for link in ("previous", "proven"):
        release = getattr(after, link)
        if release and release != getattr(before, link):
            _link(kept, link, str(digest(release)))
    for name in sorted(before.current.keys() | after.current.keys()):
        if name not in after.current:
            (folder / name).unlink()
        elif after.current[name] != before.current.get(name):
            _write(_fresh(kept, name), after.current[name]).replace(folder / name)
    for path in litter(kept, after):
        _remove(path)
    _sync(folder)


def _keep(kept: Path, release: Release) -> None:
    """Have a snapshot; it appears whole."""
    target = kept / str(digest(release))
    if not release or read_snapshot(target) == release:
        return
    made = _fresh(kept, "snapshot")
    made.mkdir(mode=0o700)
    for name, one in release.items():
        _write(made / name, one)
    _sync(made)
    _remove(target)  # there only if somebody changed it
    made.rename(target)
    _sync(kept)


def _link(kept: Path, name: str, target: str) -> None:
    made = _fresh(kept, name)
    made.symlink_to(target)
    made.replace(kept / name)
    _sync(kept)


def _write(path: Path, one: File) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, one.owner, one.group)
        os.fchmod(descriptor, one.mode)
        file.write(one.content)
        file.flush()
        os.fsync(descriptor)
    return path


def _fresh(kept: Path, name: str) -> Path:
    """Give a place for what is being made, emptied of what a killed run left there."""
    path = kept / f".new-{name}"
    _remove(path)
    return path


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()


def _sync(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def run(module: AnsibleModule) -> dict[str, Any]:
    """Carry out what the task says; the result is Ansible's."""
    folder, names, state = Path(module.params["folder"]), module.params["files"], module.params["state"]
    for name in names:
        if name in ("", ".", "..", "releases") or "/" in name:
            module.fail_json(msg=f"files: {name!r} is no name of a file in {folder}.")
    kept = folder / "releases"
    proven, previous = read_snapshot(kept / "proven"), read_snapshot(kept / "previous")
    # What belonged to an earlier release belongs to this one too where it is still there.
    before = Releases(read(folder, {*names, *proven, *previous}), proven, previous)
    if state == "proven" and not before.current and not module.check_mode:
        module.fail_json(msg=f"Nothing can be proven: none of {', '.join(names)} is in {folder}.")
    after = wanted(state, before)
    # In check mode what would be proven may not be there yet.
    unwritten = state == "proven" and not before.current
    is_changed = unwritten or after != before or (state != "seen" and bool(litter(kept, after)))
    if is_changed and not module.check_mode:
        go(folder, before, after)
    target = wanted("restored", before) if state == "seen" else after
    return {
        "changed": is_changed,
        "diff": differences(before, after, folder),
        "releases": {name: digest(one) for name, one in after._asdict().items()},
        "target": digest(target.current),
        "images": {name: images(one) for name, one in (*after._asdict().items(), ("target", target.current))},
    }


def main() -> None:
    """Be the module."""
    from ansible.module_utils.basic import AnsibleModule  # where the rules are tested there is no Ansible

    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "files": {"type": "list", "elements": "str", "required": True},
            "state": {"choices": ["proven", "withdrawn", "restored", "seen"], "required": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except OSError as error:
        module.fail_json(msg=f"{module.params['folder']}: {error}")


if __name__ == "__main__":
    main()
