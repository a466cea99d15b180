"""Backup and restore as playbooks run them: in containers as bare as the service's, through the standard streams."""

import subprocess
from collections.abc import Iterator

import docker
import pytest

from .engine import COORDINATOR_IMAGE, LABEL, LABELS, SESSION


@pytest.fixture
def volume(engine: docker.DockerClient) -> Iterator[str]:
    made = engine.volumes.create(labels=LABELS)
    yield made.name
    made.remove()


def switchboard(volume: str, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    bare = ("--read-only", "--cap-drop", "ALL", "--network", "none", "--label", f"{LABEL}={SESSION}")
    place = ("--volume", f"{volume}:/var/lib/switchboard")
    command = ["docker", "run", "--rm", "--interactive", *bare, *place, COORDINATOR_IMAGE, *words]
    return subprocess.run(command, input=given, capture_output=True, timeout=60)


def test_a_copy_leaves_a_container_and_comes_back(volume: str) -> None:
    assert switchboard(volume, "keys", "add", "before").returncode == 0
    copied = switchboard(volume, "backup", "-")
    assert (copied.returncode, copied.stderr) == (0, b"copied 0 turns\n")
    assert switchboard(volume, "keys", "add", "after").returncode == 0
    restored = switchboard(volume, "restore", "-", given=copied.stdout)
    assert (restored.returncode, restored.stderr) == (0, b"restored 0 turns\n")
    kept = switchboard(volume, "keys", "list").stdout
    assert b"before" in kept
    assert b"after" not in kept
