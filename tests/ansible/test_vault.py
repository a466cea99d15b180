"""The secrets of an environment, as `make secrets` and `make rotate` make them: `ansible/vault.py`, as a process."""

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools/ansible/bin"
HOSTS = """
all:
  children:
    coordinators: {hosts: {tower: {}}}
    peers:
      hosts:
        nas: {profiles: {default: {}, work: {}}}
        studio: {profiles: {default: {}, work: {port: 8643}}}
        laptop: {agent_manage: false}
"""
DYING = """
import os, runpy, signal, sys
from pathlib import Path
place, name = {"fsync": (os, "fsync"), "replace": (Path, "replace")}[sys.argv.pop(1)]
setattr(place, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program that is killed where it first calls what its argument names."""


class Environment:
    """An inventory, and its secrets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "group_vars/all/vault.yml"
        self.password = folder / ".vault-password"
        folder.mkdir()
        (folder / "hosts.yml").write_text(HOSTS)

    def run(
        self, *arguments: str, before: Sequence[str] = (), password: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`vault.py`, with the inventory after its first argument; `password` is a file that the environment names."""
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        env |= {"ANSIBLE_VAULT_PASSWORD_FILE": str(password)} if password else {}
        action, *rest = arguments
        return subprocess.run(
            [TOOLS / "python", *before, ROOT / "ansible/vault.py", action, self.folder, *rest],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env=env | {"ANSIBLE_HOME": str(self.folder.parent / "home")},
        )

    def done(self, *arguments: str, password: Path | None = None) -> str:
        """Its words, where it succeeds; they hold no secret."""
        ended = self.run(*arguments, password=password)
        assert ended.returncode == 0, ended.stderr
        told = ended.stdout + ended.stderr
        for secret in [*texts(self.secrets(password)), (password or self.password).read_text().strip()]:
            assert secret not in told
        return told

    def refused(self, *arguments: str) -> str:
        """Its words, where it does not."""
        ended = self.run(*arguments)
        assert ended.returncode == 1
        assert not ended.stdout
        assert "Traceback" not in ended.stderr
        return ended.stderr

    def secrets(self, password: Path | None = None) -> dict[str, Any]:
        """What the vault holds, as Ansible reads it."""
        found: dict[str, Any] = yaml.safe_load(self._ansible_vault("view", password or self.password))
        return found

    def hold(self, secrets: Mapping[str, Any]) -> None:
        """Have the vault hold these instead, as an operator's editor would."""
        self.file.write_text(yaml.safe_dump(dict(secrets)))
        self._ansible_vault("encrypt", self.password)

    def _ansible_vault(self, action: str, password: Path) -> str:
        command = (str(TOOLS / "ansible-vault"), action, "--vault-password-file", str(password), str(self.file))
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def texts(found: Any) -> list[str]:
    """All secrets that are somewhere in there."""
    return [text for one in found.values() for text in texts(one)] if isinstance(found, dict) else [found]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "fleet")


@pytest.fixture(scope="module")
def once_filled(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("once") / "fleet")
    environment.done("fill")
    return environment


@pytest.fixture
def filled(once_filled: Environment, environment: Environment) -> Environment:
    """Another of the same."""
    shutil.copytree(once_filled.folder, environment.folder, dirs_exist_ok=True)
    return environment


def test_every_secret_that_is_missing_is_made(environment: Environment) -> None:
    assert f"{environment.file}: changed" in environment.done("fill")
    found = environment.secrets()
    assert list(found) == ["vault_consumer_key", "vault_peers"]
    assert {peer: sorted(of_peer) for peer, of_peer in found["vault_peers"].items()} == {
        "laptop": ["basic_password"],  # its agent has a key already
        "nas": ["api_server_keys", "basic_password"],
        "studio": ["api_server_keys", "basic_password"],
    }
    assert {len(text) for text in texts(found)} == {32}
    assert len(set(texts(found))) == len(texts(found)) == 7


def test_a_key_is_made_for_each_gateway_and_not_for_profiles_that_share_one(filled: Environment) -> None:
    peers = filled.secrets()["vault_peers"]
    assert list(peers["nas"]["api_server_keys"]) == ["default"]
    assert list(peers["studio"]["api_server_keys"]) == ["default", "work"]


def test_nobody_else_can_read_what_is_made(filled: Environment) -> None:
    for file in (filled.file, filled.password):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert filled.file.read_text().startswith("$ANSIBLE_VAULT;1.1;AES256\n")


def test_a_second_run_changes_nothing(filled: Environment) -> None:
    before = filled.file.read_bytes()
    assert "nothing to do" in filled.done("fill")
    assert filled.file.read_bytes() == before


def test_a_new_peer_gets_its_secrets_and_the_others_keep_theirs(filled: Environment) -> None:
    before = filled.secrets()
    (filled.folder / "hosts.yml").write_text(HOSTS + "        attic: {}\n")
    filled.done("fill")
    after = filled.secrets()
    assert sorted(after["vault_peers"].pop("attic")) == ["api_server_keys", "basic_password"]
    assert after == before


def test_what_an_operator_gave_stays(filled: Environment) -> None:
    given = filled.secrets()
    given["vault_peers"]["laptop"]["api_server_keys"] = {"default": "of-an-agent-17-digits"}
    filled.hold(given)
    assert "nothing to do" in filled.done("fill")
    assert filled.secrets() == given


def test_what_is_weak_is_refused_by_its_name_and_not_shown(filled: Environment) -> None:
    found = filled.secrets()
    weak = {
        "short": ("0123456789abcdef0123456789abcde", "must be a text of at least 32 characters"),
        "empty": ("", "must be a text of at least 32 characters"),
        "number": (12345678901234567890123456789012, "must be a text of at least 32 characters"),
        "placeholder": ("change-me-change-me-change-me-32c", "can be guessed"),
        "repeated": ("ab" * 20, "can be guessed"),
        "spaced": ("0123456789abcdef 0123456789abcdef", "must be of printable ASCII characters without spaces"),
        "accented": ("0123456789abcdefé0123456789abcdef", "must be of printable ASCII characters without spaces"),
    }
    for peer, (value, _) in weak.items():
        found["vault_peers"][peer] = {"basic_password": value}
    found["vault_peers"]["nas"]["api_server_keys"] = {"default": "0123456789abcde"}
    found["vault_peers"]["studio"]["api_server_keys"]["work"] = "0123456789abcdef"
    found["vault_consumer_key"] = None
    filled.hold(found)
    before = filled.file.read_bytes()

    told = filled.refused("fill")
    expected = [f"vault_peers.{peer}.basic_password {words}" for peer, (_, words) in weak.items()]
    expected += ["vault_peers.nas.api_server_keys.default must be a text of at least 16 characters"]
    expected += ["vault_consumer_key must be a text of at least 32 characters"]
    assert sorted(line.partition(":")[0] for line in told.splitlines()) == sorted(expected)
    assert not [value for value, _ in weak.values() if value and str(value) in told]
    assert filled.file.read_bytes() == before


def test_a_password_file_that_is_lost_is_named_and_nothing_is_made_anew(filled: Environment) -> None:
    before = filled.file.read_bytes()
    filled.password.unlink()
    assert f"put it back to {filled.password}" in filled.refused("fill")
    assert filled.file.read_bytes() == before
    assert not filled.password.exists()


def test_a_password_that_does_not_fit_is_said(filled: Environment) -> None:
    filled.password.write_text("another one\n")
    assert f"cannot be read with the password in {filled.password}" in filled.refused("fill")


def test_the_password_may_be_in_another_file(environment: Environment, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("an-operators-own-password\n")
    assert str(elsewhere) in environment.done("fill", password=elsewhere)
    assert not environment.password.exists()


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_killed_while_it_writes_it_leaves_what_was_and_the_next_run_goes_on(filled: Environment, where: str) -> None:
    before = filled.file.read_bytes()
    dying = filled.folder.parent / "dying.py"
    dying.write_text(DYING)
    assert filled.run("begin", "basic", before=(str(dying), where)).returncode == -9
    assert filled.file.read_bytes() == before
    filled.done("begin", "basic")
    assert "basic_password_next" in filled.secrets()["vault_peers"]["nas"]


def test_killed_before_there_was_anything_it_starts_again(environment: Environment, tmp_path: Path) -> None:
    dying = tmp_path / "dying.py"
    dying.write_text(DYING)
    assert environment.run("fill", before=(str(dying), "replace")).returncode == -9
    assert not environment.file.exists()
    environment.done("fill")


def test_a_rotation_makes_successors_keeps_them_and_puts_them_in_their_places(filled: Environment) -> None:
    before = filled.secrets()["vault_peers"]
    filled.done("begin", "basic", "nas")
    begun = filled.secrets()["vault_peers"]
    successor = begun["nas"].pop("basic_password_next")
    assert successor != begun["nas"]["basic_password"]
    assert begun == before

    assert "nothing to do" in filled.done("begin", "basic", "nas")
    assert filled.secrets()["vault_peers"]["nas"]["basic_password_next"] == successor

    filled.done("finish", "basic", "nas")
    after = filled.secrets()["vault_peers"]
    assert after["nas"].pop("basic_password") == successor
    assert before["nas"].pop("basic_password") != successor
    assert after == before
    assert "nothing to do" in filled.done("finish", "basic", "nas")


def test_keys_of_agents_that_are_not_managed_get_no_successor(filled: Environment) -> None:
    filled.done("begin", "bearer")
    peers = filled.secrets()["vault_peers"]
    assert sorted(peers["studio"]["api_server_keys_next"]) == ["default", "work"]
    assert "api_server_keys_next" not in peers["laptop"]
    assert "basic_password_next" not in peers["studio"]
    filled.done("finish", "bearer", "studio")
    finished = filled.secrets()["vault_peers"]
    assert finished["studio"]["api_server_keys"] == peers["studio"]["api_server_keys_next"]
    assert finished["nas"]["api_server_keys_next"] == peers["nas"]["api_server_keys_next"]


def test_the_operators_key_has_a_successor_too(filled: Environment) -> None:
    before = filled.secrets()
    filled.done("begin", "consumer")
    successor = filled.secrets()["vault_consumer_key_next"]
    filled.done("finish", "consumer")
    assert filled.secrets() == before | {"vault_consumer_key": successor}


def test_a_peer_that_the_inventory_does_not_name_is_refused(filled: Environment) -> None:
    told = filled.refused("begin", "basic", "nas", "attic")
    assert "names no peer attic; it names nas, studio, laptop" in told
    assert "basic_password_next" not in filled.secrets()["vault_peers"]["nas"]


def test_an_inventory_that_is_not_there_is_named_with_what_to_do(environment: Environment) -> None:
    (environment.folder / "hosts.yml").unlink()
    environment.folder.rmdir()
    assert f"there is no inventory {environment.folder}: copy inventories/example" in environment.refused("fill")


def test_a_kind_that_there_is_not_is_answered_with_the_usage(environment: Environment) -> None:
    assert "KIND is basic, bearer or consumer" in environment.refused("begin", "all")
