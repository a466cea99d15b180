"""What `scripts/engine` accepts and refuses, and in which words. With a docker of its own on PATH; needs no engine."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("bash", "cat", "dirname", "env", "flock", "mkdir", "sed", "setsid", "sleep", "tail", "timeout")
DOCKER = """
case $1 in
  version) [[ "{version}" ]] && echo "{version}" ;;
  compose) {compose} && echo 2.26.1 ;;
  buildx) {buildx} ;;
esac
"""


@dataclass
class Machine:
    """A machine of which the script sees nothing but this folder."""

    folder: Path
    path: Path

    def has(self, name: str, words: str) -> None:
        """A command that does this."""
        (self.path / name).write_text(f"#!/usr/bin/env bash\n{words}\n")
        (self.path / name).chmod(0o755)

    def has_docker(self, version: str = "", compose: str = "true", buildx: str = "true") -> None:
        """A client; an engine of this version answers it, or none does."""
        self.has("docker", DOCKER.format(version=version, compose=compose, buildx=buildx))

    def works_as(self, user: int) -> None:
        """Who runs the script."""
        self.has("id", f"echo {user}")

    def engine(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            [self.folder / "scripts/engine"],
            env={"PATH": str(self.path), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refusal(self, **environment: str) -> str:
        """What it says where it refuses."""
        ended = self.engine(**environment)
        assert ended.returncode == 1, ended
        assert ended.stdout == ""
        return ended.stderr.strip()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path, tmp_path / "bin")
    machine.path.mkdir()
    (tmp_path / "scripts").mkdir()
    for name in ("engine", "base-sources"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    for tool in TOOLS:
        (machine.path / tool).symlink_to(str(shutil.which(tool)))
    machine.works_as(0)
    machine.has_docker()
    return machine


@pytest.mark.parametrize("version", ["26.0.0", "26.1.5+dfsg1", "28.2.2"])
def test_an_engine_that_is_new_enough_is_used(machine: Machine, version: str) -> None:
    machine.has_docker(version)
    ended = machine.engine()
    assert (ended.returncode, ended.stdout) == (0, f"engine {version}, compose 2.26.1\n")
    assert not (machine.folder / ".run").exists()


@pytest.mark.parametrize("version", ["20.10.24+dfsg1", "25.0.9", "9.0"])
def test_an_older_engine_in_use_is_reported_and_left_alone(machine: Machine, version: str) -> None:
    machine.has_docker(version)
    machine.has("apt-get", "touch touched")
    assert machine.refusal().startswith(f"The container engine in use is {version}; Switchboard needs 26 or newer")
    assert not (machine.folder / "touched").exists()


def test_a_client_without_compose_is_told_which_package_has_it(machine: Machine) -> None:
    machine.has_docker("28.2.2", compose="false")
    assert machine.refusal().startswith("The docker client has no Compose: install the package docker-compose (Debian)")


def test_a_client_without_buildx_is_told_which_package_has_it(machine: Machine) -> None:
    machine.has_docker("28.2.2", buildx="false")
    assert machine.refusal().startswith("The docker client has no buildx: install the package docker-buildx")


def test_a_docker_host_that_does_not_answer_is_named_and_nothing_is_started(machine: Machine) -> None:
    machine.has("dockerd", "touch started")
    said = machine.refusal(DOCKER_HOST="tcp://203.0.113.1:2375")
    assert said == (
        "No container engine answers at DOCKER_HOST (tcp://203.0.113.1:2375): start it, or unset DOCKER_HOST."
    )
    assert not (machine.folder / "started").exists()


def test_who_is_not_root_is_told_to_start_what_is_installed(machine: Machine) -> None:
    machine.works_as(1000)
    machine.has("dockerd", "touch started")
    assert machine.refusal() == (
        'The container engine is installed and does not answer: start it, or run "sudo make engine" once.'
    )
    assert not (machine.folder / "started").exists()


@pytest.mark.skipif(
    not Path("/etc/debian_version").exists(), reason="elsewhere it installs nothing: run it on Debian or Ubuntu"
)
def test_who_is_not_root_is_told_what_root_would_install(machine: Machine) -> None:
    machine.works_as(1000)
    machine.has("apt-get", "touch touched")
    said = machine.refusal()
    assert 'run "sudo make engine" once, which installs docker.io ≥ 26, Compose v2 and buildx' in said
    assert not (machine.folder / "touched").exists()


def test_where_packages_are_not_debians_it_says_what_to_install(machine: Machine) -> None:
    assert machine.refusal().startswith("No container engine answers: install Docker Engine ≥ 26 with its Compose")


def test_an_installed_engine_that_is_too_old_is_not_started(machine: Machine) -> None:
    machine.has("dockerd", '[[ $1 == --version ]] && echo "Docker version 20.10.24, build 297e128" || touch started')
    assert machine.refusal().startswith(
        "The container engine installed is 20.10.24, build 297e128; Switchboard needs 26"
    )
    assert not (machine.folder / "started").exists()


@pytest.mark.skipif(Path("/run/systemd/system").exists(), reason="there systemd starts it: run it where none is")
def test_an_installed_engine_is_started_and_waited_for(machine: Machine) -> None:
    machine.has("dockerd", '[[ ${1-} == --version ]] && echo "Docker version 28.2.2" || echo 28.2.2 >answering')
    machine.has_docker("$(cat answering 2>/dev/null)")
    ended = machine.engine()
    assert (ended.returncode, ended.stdout) == (0, "engine 28.2.2, compose 2.26.1\n")
