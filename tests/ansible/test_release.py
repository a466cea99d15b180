"""The module `release`: its rules in this process, killed at every step; and whole, as Ansible runs it."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "ansible/library/release.py"
PYTHON = ROOT / ".tools/ansible/bin/python"
NAMES = [".env", "proxy.yaml", "extra"]


def _loaded() -> Any:
    spec = importlib.util.spec_from_file_location("ansible_module_release", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


release = _loaded()


def made_of(letter: str) -> Any:
    """A release; B has a file more than the others, and another mode."""
    found = {
        ".env": f"SWITCHBOARD_PROXY_IMAGE=sha256:{letter}\nSWITCHBOARD_PROXY_PORT=9121\n",
        "proxy.yaml": f"name: {letter}\n",
    }
    if letter == "B":
        found["extra"] = "more\n"
    mode = 0o640 if letter == "B" else 0o600
    return {name: release.File(text.encode(), mode, os.getuid(), os.getgid()) for name, text in found.items()}


def lay(folder: Path, current: str, proven: str = "", previous: str = "") -> None:
    """Have a machine as runs of the module left it; a letter names a release, and nothing is an empty one."""
    for letter, state in ((previous, "proven"), (proven, "proven"), (current, "")):
        if not letter:
            continue
        for name in NAMES:
            (folder / name).unlink(missing_ok=True)
        for name, one in made_of(letter).items():
            (folder / name).write_bytes(one.content)
            (folder / name).chmod(one.mode)
        if state:
            run(folder, state)


def run(folder: Path, state: str, *, check: bool = False) -> Any:
    """The module's own `run`, without Ansible."""
    task = mock.Mock(params={"folder": str(folder), "files": NAMES, "state": state}, check_mode=check)
    task.fail_json.side_effect = AssertionError
    return release.run(task)


def picture(folder: Path) -> dict[str, str]:
    """Everything below a folder."""
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}"
        if path.is_symlink()
        else f"{path.stat().st_mode:o} {path.stat().st_uid} {path.read_text() if path.is_file() else 'folder'}"
        for path in sorted(folder.rglob("*"))
    }


@contextmanager
def copy_of(folder: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(folder, Path(place) / "copy", symlinks=True))


class Killed(BaseException):
    """What SIGKILL is to the code: nothing of it runs any more."""


@contextmanager
def killed_before(step: int) -> Iterator[list[str]]:
    """The n-th call that changes the disk does not happen; yields the calls that did."""
    done: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **options: Any) -> Any:
            if len(done) == step:
                raise Killed
            done.append(name)
            return call(*args, **options)

        return instead

    names = ("mkdir", "symlink", "replace", "rename", "unlink", "rmdir", "fchown", "fchmod", "fsync")
    patched: dict[str, Any] = {name: counted(name, getattr(os, name)) for name in names}
    opened = os.open

    def open_instead(path: Any, flags: int, *args: Any, **options: Any) -> int:
        return (counted("create", opened) if flags & os.O_CREAT else opened)(path, flags, *args, **options)

    patched["open"] = open_instead
    with mock.patch.multiple(os, **patched):
        yield done


@st.composite
def machines(draw: st.DrawFn) -> tuple[str, str, str]:
    """What is current, proven and previous; nothing is previous where nothing is proven."""
    proven = draw(st.sampled_from(["", "A", "B"]))
    previous = draw(st.sampled_from(["", "A", "B", "C"])) if proven else ""
    return draw(st.sampled_from("ABC")), proven, previous


@given(machines(), st.sampled_from(["proven", "withdrawn", "restored"]), st.lists(st.integers(0, 60), max_size=4))
def test_killed_several_times_anywhere_and_run_again_it_ends_the_same(
    machine: tuple[str, str, str], state: str, kills: list[int]
) -> None:
    with tempfile.TemporaryDirectory() as place, copy_of(Path(place)) as folder:
        lay(folder, *machine)
        with copy_of(folder) as undisturbed:
            run(undisturbed, state)
            expected = picture(undisturbed)
        for step in kills:
            try:
                with killed_before(step):
                    run(folder, state)
            except Killed:
                pass
        run(folder, state)
        assert picture(folder) == expected
        again = run(folder, state)
        assert not again["changed"]
        assert not again["diff"]
        assert picture(folder) == expected


@pytest.mark.parametrize("state", ["proven", "withdrawn", "restored"])
@pytest.mark.parametrize("machine", ["C", "BA", "BAC", "CBA", "BBA", "AAB"])
def test_killed_at_each_step_links_lead_to_whole_releases_files_are_whole_and_the_end_is_the_same(
    tmp_path: Path, machine: str, state: str
) -> None:
    lay(tmp_path, *machine)
    known = {release.digest(made_of(letter)) for letter in "ABC"}
    whole = [one for letter in "ABC" for one in made_of(letter).items()]
    with copy_of(tmp_path) as undisturbed:
        run(undisturbed, state)
        expected = picture(undisturbed)
    step = 0
    while True:
        with copy_of(tmp_path) as folder:
            try:
                with killed_before(step):
                    run(folder, state)
                break
            except Killed:
                step += 1
            for link in ("proven", "previous"):
                if (folder / "releases" / link).is_symlink():
                    kept = release.read_snapshot(folder / "releases" / link)
                    assert release.digest(kept) in known
                    assert release.digest(kept) == str((folder / "releases" / link).readlink())
            for item in release.read(folder, NAMES).items():
                assert item in whole
            run(folder, state)
            assert picture(folder) == expected
    if machine == "BAC":
        assert step > 5


def ends(folder: Path) -> tuple[Any, ...]:
    """The letters of what is current, proven and previous."""
    letters = {release.digest(made_of(letter)): letter for letter in "ABC"} | {None: ""}
    found = run(folder, "seen")["releases"]
    return tuple(letters[found[name]] for name in ("current", "proven", "previous"))


def test_what_was_proven_becomes_the_previous_release(tmp_path: Path) -> None:
    lay(tmp_path, "A")
    assert run(tmp_path, "proven")["changed"]
    assert ends(tmp_path) == ("A", "A", "")
    lay(tmp_path, "B")
    run(tmp_path, "proven")
    assert ends(tmp_path) == ("B", "B", "A")
    lay(tmp_path, "C")
    run(tmp_path, "proven")
    assert ends(tmp_path) == ("C", "C", "B")
    assert len(list((tmp_path / "releases").iterdir())) == 4  # two snapshots, two links


def test_proving_the_same_again_changes_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "B", "B", "A")
    before = picture(tmp_path)
    assert not run(tmp_path, "proven")["changed"]
    assert picture(tmp_path) == before


def test_a_rollback_goes_one_release_back_and_a_second_one_changes_nothing(tmp_path: Path) -> None:
    lay(tmp_path, "B", "B", "A")
    assert run(tmp_path, "restored")["changed"]
    assert ends(tmp_path) == ("A", "A", "A")
    assert not (tmp_path / "extra").exists()
    assert not run(tmp_path, "restored")["changed"]


def test_a_rollback_of_what_was_never_proved_goes_to_what_was_and_no_further(tmp_path: Path) -> None:
    lay(tmp_path, "C", "B", "A")
    assert run(tmp_path, "restored")["changed"]
    assert ends(tmp_path)[:2] == ("B", "B")
    assert not run(tmp_path, "restored")["changed"]
    assert ends(tmp_path)[:2] == ("B", "B")


def test_what_is_withdrawn_leaves_the_release_before_it(tmp_path: Path) -> None:
    lay(tmp_path, "C", "B", "A")
    assert run(tmp_path, "withdrawn")["changed"]
    assert ends(tmp_path) == ("B", "B", "A")
    assert not run(tmp_path, "withdrawn")["changed"]


@pytest.mark.parametrize("state", ["withdrawn", "restored"])
@pytest.mark.parametrize("machine", ["C", "AA", ""])
def test_without_a_release_to_go_back_to_nothing_changes(tmp_path: Path, machine: str, state: str) -> None:
    lay(tmp_path, *machine or [""])
    before = picture(tmp_path)
    found = run(tmp_path, state)
    assert not found["changed"]
    assert found["releases"]["previous"] is None
    assert picture(tmp_path) == before


def test_a_change_of_a_mode_alone_is_another_release(tmp_path: Path) -> None:
    lay(tmp_path, "A", "A")
    (tmp_path / ".env").chmod(0o644)
    run(tmp_path, "proven")
    run(tmp_path, "restored")
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away: run the tests as root")
def test_owners_and_modes_come_back(tmp_path: Path) -> None:
    lay(tmp_path, "A")
    os.chown(tmp_path / ".env", 10001, 10002)
    (tmp_path / ".env").chmod(0o440)
    run(tmp_path, "proven")
    lay(tmp_path, "B")
    run(tmp_path, "proven")
    run(tmp_path, "restored")
    facts = (tmp_path / ".env").stat()
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (10001, 10002, 0o440)


def test_the_folder_of_releases_is_its_owners_alone(tmp_path: Path) -> None:
    lay(tmp_path, "A", "A")
    assert (tmp_path / "releases").stat().st_mode & 0o777 == 0o700


@given(machines(), st.sampled_from(["proven", "withdrawn", "restored", "seen"]))
def test_check_mode_changes_nothing_and_says_what_would_be(machine: tuple[str, str, str], state: str) -> None:
    with tempfile.TemporaryDirectory() as place, copy_of(Path(place)) as folder:
        lay(folder, *machine)
        before = picture(folder)
        foretold = run(folder, state, check=True)
        assert picture(folder) == before
        assert run(folder, state) == foretold


def test_the_images_of_every_release_are_told(tmp_path: Path) -> None:
    lay(tmp_path, "C", "B", "A")
    with (tmp_path / ".env").open("a") as file:
        file.write(
            "#SWITCHBOARD_OLD_IMAGE=sha256:none\nSWITCHBOARD_COORDINATOR_IMAGE='sha256:D'\nSWITCHBOARD_NO_IMAGE=\n"
        )
    seen = run(tmp_path, "seen")
    assert seen["images"] == {
        "current": ["sha256:C", "sha256:D"],
        "proven": ["sha256:B"],
        "previous": ["sha256:A"],
        "target": ["sha256:B"],
    }
    assert not seen["changed"]
    assert seen["target"] == release.digest(made_of("B"))


def as_ansible_does(folder: Path, state: str, **more: object) -> tuple[int, Any]:
    """The whole module: a process that is told what to do in JSON."""
    if not PYTHON.exists():
        pytest.skip("no Ansible here: make ansible")
    told = {"folder": str(folder), "files": NAMES, "state": state, **more}
    ended = subprocess.run(
        [PYTHON, MODULE], input=json.dumps({"ANSIBLE_MODULE_ARGS": told}), capture_output=True, text=True, check=False
    )
    assert not ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def test_as_a_process_it_goes_back_and_shows_the_difference_of_each_file(tmp_path: Path) -> None:
    lay(tmp_path, "B", "B", "A")
    before = picture(tmp_path)
    code, foretold = as_ansible_does(tmp_path, "restored", _ansible_check_mode=True, _ansible_diff=True)
    assert code == 0
    assert picture(tmp_path) == before
    code, told = as_ansible_does(tmp_path, "restored", _ansible_diff=True)
    assert code == 0
    assert told["changed"]
    assert told["diff"] == foretold["diff"]
    by_title = {Path(one["before_header"]).name: one for one in told["diff"]}
    assert by_title.keys() == {".env", "proxy.yaml", "extra", "proven"}
    assert "IMAGE=sha256:B\n" in by_title[".env"]["before"]
    assert "IMAGE=sha256:A\n" in by_title[".env"]["after"]
    assert by_title["extra"]["after"] == ""
    assert release.read(tmp_path, NAMES) == made_of("A")


def test_as_a_process_it_says_in_a_sentence_why_it_cannot(tmp_path: Path) -> None:
    code, told = as_ansible_does(tmp_path, "proven")
    assert code == 1
    assert told["msg"] == f"Nothing can be proven: none of .env, proxy.yaml, extra is in {tmp_path}."
    code, told = as_ansible_does(tmp_path, "proven", files=["../etc"])
    assert code == 1
    assert told["msg"] == f"files: '../etc' is no name of a file in {tmp_path}."
    (tmp_path / ".env").mkdir()
    code, told = as_ansible_does(tmp_path, "seen")
    assert code == 1
    assert "Is a directory" in told["msg"]


def test_before_the_first_run_check_mode_foretells_a_release(tmp_path: Path) -> None:
    code, told = as_ansible_does(tmp_path / "absent", "proven", _ansible_check_mode=True)
    assert code == 0
    assert told["changed"]
    assert not (tmp_path / "absent").exists()
