"""What `make deploy` and its siblings call: the scripts themselves, with a fake Ansible where theirs is."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKE = """#!/bin/sh
printf '%s' "$(basename "$0")" >>"$TOLD"
for argument; do printf ' %s' "$argument" >>"$TOLD"; done
echo >>"$TOLD"
test "${REFUSES:-}" != "$3"
"""
NEEDED = [".tools/uv/bin/uv", "requirements/ansible.txt", ".tools/ansible/ready"]
"""What `make` looks at, from the oldest to the newest."""


class Checkout:
    """As much of this project as its targets for operators need, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inventory = folder / "ansible/inventories/fleet"
        self.told = folder / "told"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copy(ROOT / "Makefile", folder)
        self.inventory.mkdir(parents=True)
        for seconds, name in enumerate(NEEDED):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
            now = (folder / "scripts/uv").stat().st_mtime + 1 + seconds
            os.utime(file, (now, now))
        for script in (folder / "scripts").iterdir():
            os.utime(script, (0, 0))
        for name in ("ansible-playbook", "python"):
            program = folder / ".tools/ansible/bin" / name
            program.parent.mkdir(parents=True, exist_ok=True)
            program.write_text(FAKE)
            program.chmod(0o755)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run it from elsewhere, as an operator may."""
        mine = {"PATH": os.environ["PATH"], "TOLD": str(self.told), "HOME": str(self.folder)}
        self.told.unlink(missing_ok=True)
        return subprocess.run(
            command, cwd="/", env=mine | variables, capture_output=True, text=True, check=False, timeout=60
        )

    def made(self, *arguments: str, **variables: str) -> list[str]:
        """What `make` had Ansible do, a line each."""
        ended = self.run("make", "--no-print-directory", "--directory", str(self.folder), *arguments, **variables)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return self.told.read_text().splitlines()

    def refused(self, *arguments: str, **variables: str) -> str:
        """What is said where `make` does nothing."""
        ended = self.run("make", "--no-print-directory", "--directory", str(self.folder), *arguments, **variables)
        assert ended.returncode
        assert not self.told.exists()
        return ended.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


PLAY = "ansible-playbook --inventory inventories/fleet"


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (["secrets"], "python vault.py fill inventories/fleet"),
        (["deploy"], f"{PLAY} site.yml"),
        (["deploy", "LIMIT=nas"], f"{PLAY} --limit nas site.yml"),
        (["deploy", "VERSION=0.2.0"], f"{PLAY} site.yml --extra-vars version=0.2.0"),
        (["deploy", "TAGS=proxy,host"], f"{PLAY} --tags proxy,host site.yml"),
        (["deploy", "CHECK=1"], f"{PLAY} --check --diff site.yml"),
        (["deploy", "LIMIT=nas", "TAGS=proxy", "CHECK=1"], f"{PLAY} --limit nas --tags proxy --check --diff site.yml"),
        (["upgrade", "VERSION=0.2.0"], f"{PLAY} upgrade.yml --extra-vars version=0.2.0"),
        (["upgrade", "VERSION=0.2.0", "LIMIT=nas"], f"{PLAY} --limit nas upgrade.yml --extra-vars version=0.2.0"),
        (["upgrade"], f"{PLAY} upgrade.yml"),
        (["rollback", "LIMIT=nas"], f"{PLAY} --limit nas rollback.yml"),
        (["verify"], f"{PLAY} verify.yml"),
        (["status"], f"{PLAY} status.yml"),
        # The coordinator has to take part.
        (["remove", "LIMIT=nas,laptop"], f"{PLAY} remove.yml --extra-vars leaving=nas,laptop"),
        (["backup"], f"{PLAY} backup.yml --extra-vars backup_folder=CHECKOUT/backups"),
        (["backup", "TO=/mnt/x"], f"{PLAY} backup.yml --extra-vars backup_folder=/mnt/x"),
        (["restore", "FROM=backups/a.db"], f"{PLAY} restore.yml --extra-vars backup_file=CHECKOUT/backups/a.db"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_target_plays_its_playbook(checkout: Checkout, target: list[str], line: str) -> None:
    assert checkout.made(*target) == [line.replace("CHECKOUT", str(checkout.folder))]


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (["remove"], "LIMIT: names the machines that leave"),
        (["restore"], "FROM=file names the backup"),
        (["deploy", "ENV=other"], "There is no inventory ansible/inventories/other: copy ansible/inventories/example"),
        (["secrets", "CHECK=1"], "make secrets has no CHECK=1"),
        (["rotate", "CHECK=1"], "make rotate has no CHECK=1"),
        (["backup", "CHECK=1"], "make backup has no CHECK=1"),
        (["restore", "CHECK=1", "FROM=a.db"], "make restore has no CHECK=1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_target_that_cannot_do_it_says_what_it_lacks(checkout: Checkout, target: list[str], words: str) -> None:
    assert words in checkout.refused(*target)


def test_another_environment_is_another_inventory(checkout: Checkout) -> None:
    (checkout.folder / "ansible/inventories/lab").mkdir()
    assert checkout.made("deploy", "ENV=lab") == ["ansible-playbook --inventory inventories/lab site.yml"]
    assert checkout.made("secrets", ENV="lab") == ["python vault.py fill inventories/lab"]


def test_the_password_file_of_the_inventory_is_used_where_none_is_named(checkout: Checkout) -> None:
    (checkout.inventory / ".vault-password").touch()
    assert checkout.made("status") == [f"{PLAY} --vault-password-file inventories/fleet/.vault-password status.yml"]
    assert checkout.made("status", ANSIBLE_VAULT_PASSWORD_FILE="/elsewhere") == [f"{PLAY} status.yml"]


@pytest.mark.parametrize(
    ("target", "lines"),
    [
        (
            ["rotate"],
            [
                "python vault.py begin inventories/fleet basic",
                "python vault.py begin inventories/fleet bearer",
                "python vault.py begin inventories/fleet consumer",
                f"{PLAY} --tags basic,bearer,consumer rotate.yml",
            ],
        ),
        (
            ["rotate", "LIMIT=nas,laptop"],
            [
                "python vault.py begin inventories/fleet basic nas laptop",
                "python vault.py begin inventories/fleet bearer nas laptop",
                f"{PLAY} --limit nas,laptop --tags basic,bearer rotate.yml",
            ],
        ),
        (
            ["rotate", "ONLY=bearer", "LIMIT=nas"],
            ["python vault.py begin inventories/fleet bearer nas", f"{PLAY} --limit nas --tags bearer rotate.yml"],
        ),
        (
            ["rotate", "ONLY=consumer", "LIMIT=nas"],
            ["python vault.py begin inventories/fleet consumer", f"{PLAY} --tags consumer rotate.yml"],
        ),
    ],
    ids=["all", "of some", "one of one", "the operator's"],
)
def test_a_rotation_makes_successors_and_then_plays(checkout: Checkout, target: list[str], lines: list[str]) -> None:
    assert checkout.made(*target) == lines


def test_where_no_successor_can_be_made_nothing_is_rotated(checkout: Checkout) -> None:
    ended = checkout.run(str(checkout.folder / "scripts/rotate"), "basic", REFUSES="inventories/fleet")
    assert ended.returncode
    assert checkout.told.read_text().splitlines() == ["python vault.py begin inventories/fleet basic"]
