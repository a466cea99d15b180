"""A release for real: this tree, in a repository of its own, built and tagged."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

ROOT = Path(__file__).parent.parent.parent
VERSION = f"99.{os.getpid()}.0"
NAMES = ("switchboard-proxy", "switchboard-coordinator")
AUTHOR = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def ran(folder: Path, *words: str) -> str:
    run = subprocess.run(words, cwd=folder, env=os.environ | AUTHOR, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """This tree, whose maintainer has written what a release needs."""
    for name in ran(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).exists():  # what is deleted and not committed is listed too
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    for file in tmp_path.rglob("pyproject.toml"):
        file.write_text(re.sub('^version = ".*"$', f'version = "{VERSION}"', file.read_text(), flags=re.MULTILINE))
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{VERSION}] - 2026-11-26\n\n- Everything.\n")
    ran(tmp_path, "git", "init", "--quiet")
    ran(tmp_path, "git", "add", "--all")
    ran(tmp_path, "git", "commit", "--quiet", "--message", "all of it")
    return tmp_path


@pytest.fixture
def no_images_left(engine: docker.DockerClient) -> Iterator[None]:
    yield
    for name in NAMES:
        with suppress(ImageNotFound):
            engine.images.remove(f"{name}:{VERSION}")


@pytest.mark.usefixtures("no_images_left")
def test_a_release_is_a_tag_and_images_that_say_which_commit_and_version_they_are(
    engine: docker.DockerClient, repository: Path
) -> None:
    told = ran(repository, "scripts/release", VERSION)
    revision = ran(repository, "git", "rev-parse", "HEAD")
    assert ran(repository, "git", "rev-parse", f"v{VERSION}^{{commit}}") == revision
    for name in NAMES:
        image = engine.images.get(f"{name}:{VERSION}")
        assert f"{name}:{VERSION} {image.id}" in told
        assert image.labels["org.opencontainers.image.version"] == VERSION
        assert image.labels["org.opencontainers.image.revision"] == revision
