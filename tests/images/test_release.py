"""`make release`: what it refuses, and in which words; what it builds and tags. Repository and `docker` are made up."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

ROOT = Path(__file__).parent.parent.parent
MEMBERS = ("relay", "proxy", "tests/mock_agent")
CHANGES = "### Changed\n\n- The proxy is faster. Nothing to do.\n"
CHANGELOG = (
    f"# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-11-26\n\n{CHANGES}\n## [0.1.0] - 2026-10-01\n\n- First.\n"
)
DOCKER = """#!/bin/sh
case "$1" in
  info) echo "$DRIVER_STATUS" ;;
  buildx) [ "$2" != imagetools ] || exit "$SCANNER_STATUS"
          echo "TAG=$TAG VERSION=$VERSION $*" >>"$BUILDS"
          exit "$BUILD_STATUS" ;;
  image) echo "  $5 sha256:1234" ;;
esac
"""


class Workshop:
    """A repository of three members whose next release is 0.2.0, and the script that makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "repository"
        tools = folder / "tools"
        tools.mkdir()
        (tools / "docker").write_text(DOCKER)
        (tools / "docker").chmod(0o755)
        self._builds = folder / "builds"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_") and name != "TAG"},
            **{f"GIT_{who}_{what}": f"a@{who}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
            "PATH": f"{tools}:{os.environ['PATH']}",
            "BUILDS": str(self._builds),
            "BUILD_STATUS": "0",
            "SCANNER_STATUS": "0",
            "DRIVER_STATUS": '[["Backing Filesystem","extfs"]]',
        }
        copytree(ROOT / "images", self.folder / "images")
        self.write(".gitignore", "/.run/\n")
        self.write("scripts/release", (ROOT / "scripts/release").read_text()).chmod(0o755)
        self.write("CHANGELOG.md", CHANGELOG)
        for member in (".", *MEMBERS):
            self.write(f"{member}/pyproject.toml", '[project]\nversion = "0.2.0"\n')
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit()
        self.git("tag", "v0.1.0")

    def write(self, name: str, text: str) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def git(self, *words: str) -> str:
        run = subprocess.run(["git", *words], cwd=self.folder, env=self._environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a step")

    def release(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["scripts/release", *words],
            cwd=self.folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def builds(self) -> list[str]:
        return self._builds.read_text().splitlines() if self._builds.exists() else []

    @property
    def tags(self) -> list[str]:
        return self.git("tag").split()


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def refused(workshop: Workshop, version: str = "0.2.0") -> list[str]:
    before = workshop.tags
    run = workshop.release(version)
    assert run.returncode == 1
    assert (run.stdout, workshop.builds, workshop.tags) == ("", [], before)
    return run.stderr.splitlines()


def test_a_release_is_built_under_its_version_and_then_tagged_with_what_changes(workshop: Workshop) -> None:
    run = workshop.release("0.2.0")
    assert (run.returncode, run.stderr) == (0, "")
    (build,) = workshop.builds
    assert build.startswith("TAG=0.2.0 VERSION=0.2.0 buildx bake ")
    assert build.endswith(" --load proxy coordinator")
    assert workshop.tags == ["v0.1.0", "v0.2.0"]
    assert workshop.git("cat-file", "-t", "v0.2.0") == "tag\n"
    assert workshop.git("rev-parse", "v0.2.0^{}") == workshop.git("rev-parse", "HEAD")
    assert workshop.git("tag", "--list", "--format", "%(contents)", "v0.2.0").split("\n\n", 1) == [
        "Switchboard 0.2.0",
        f"{CHANGES}\n",
    ]
    assert "switchboard-coordinator:0.2.0 sha256:1234" in run.stdout
    assert "make upgrade VERSION=0.2.0" in run.stdout


CONTAINERD = '[["driver-type","io.containerd.snapshotter.v1"]]'


def test_attestations_are_made_where_the_image_store_keeps_them(workshop: Workshop) -> None:
    run = workshop.release("0.2.0", DRIVER_STATUS=CONTAINERD)
    scanner = "--sbom=generator=docker/buildkit-syft-scanner:stable-1"
    assert workshop.builds[0].endswith(f" --load proxy coordinator --provenance=mode=max {scanner}")
    assert "Without" not in run.stdout


def test_where_the_scanner_is_out_of_reach_there_is_no_sbom_and_that_is_said(workshop: Workshop) -> None:
    run = workshop.release("0.2.0", DRIVER_STATUS=CONTAINERD, SCANNER_STATUS="1")
    assert workshop.builds[0].endswith(" --load proxy coordinator --provenance=mode=max")
    assert run.stdout.startswith("Without SBOM: its scanner, ")


def test_where_the_image_store_keeps_none_that_is_said(workshop: Workshop) -> None:
    assert workshop.release("0.2.0").stdout.startswith("Without provenance and SBOM: ")
    assert workshop.builds[0].endswith(" --load proxy coordinator")


def test_a_build_that_fails_leaves_no_tag(workshop: Workshop) -> None:
    assert workshop.release("0.2.0", BUILD_STATUS="17").returncode == 17
    assert workshop.tags == ["v0.1.0"]


def test_the_first_release_of_all_needs_none_before_it(workshop: Workshop) -> None:
    workshop.git("tag", "--delete", "v0.1.0")
    assert workshop.release("0.2.0").returncode == 0


@pytest.mark.parametrize("version", ["", "0.2", "v0.2.0", "0.2.0-rc.1", "0.02.0", "0.2.0\n", "latest"])
def test_what_is_no_version_is_refused(workshop: Workshop, version: str) -> None:
    told = "\n".join(refused(workshop, version))
    assert told.startswith(f'"{version}" is no version: name three numbers')


def uncommitted(workshop: Workshop) -> None:
    workshop.write("new", "")


def tagged(workshop: Workshop) -> None:
    workshop.git("tag", "v0.2.0")


def above(workshop: Workshop) -> None:
    for tag in ("v0.9.0", "v0.10.0", "of-no-version"):
        workshop.git("tag", tag)


def of_another_version(workshop: Workshop) -> None:
    workshop.write("tests/mock_agent/pyproject.toml", '[project]\nversion = "0.2.0.dev1"\n')
    workshop.commit()


def undated(workshop: Workshop) -> None:
    workshop.write("CHANGELOG.md", CHANGELOG.replace("[0.2.0] - 2026-11-26", "[0.2.0]"))
    workshop.commit()


def unmoved(workshop: Workshop) -> None:
    workshop.write("CHANGELOG.md", CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n- One more.\n"))
    workshop.commit()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (uncommitted, "There are changes that are not committed"),
        (tagged, "The tag v0.2.0 is there already"),
        (above, "0.2.0 is not above 0.10.0, the last release."),
        (of_another_version, 'tests/mock_agent/pyproject.toml does not say version = "0.2.0".'),
        (undated, 'CHANGELOG.md has no section "## [0.2.0] - '),
        (unmoved, "CHANGELOG.md has changes under Unreleased: move them to 0.2.0."),
    ],
)
def test_what_does_not_agree_is_refused(workshop: Workshop, spoil: Callable[[Workshop], None], sentence: str) -> None:
    spoil(workshop)
    (told,) = refused(workshop)
    assert told.startswith(sentence)


def test_everything_that_is_wrong_is_told_at_once(workshop: Workshop) -> None:
    uncommitted(workshop)
    told = "\n".join(refused(workshop, "0.0.9"))
    for word in ("git status", "not above 0.1.0", *MEMBERS, "no section"):
        assert word in told
