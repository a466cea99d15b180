"""One version: of every member, and so of every image."""

import json
import os
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def version(file: Path) -> str:
    return str(tomllib.loads(file.read_text())["project"]["version"])


def test_all_members_have_the_version_of_the_workspace() -> None:
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    members = {member: version(ROOT / member / "pyproject.toml") for member in workspace["members"]}
    assert members == dict.fromkeys(workspace["members"], version(ROOT / "pyproject.toml"))


def test_an_image_is_built_as_the_version_of_the_workspace_and_named_dev(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nprintf \'{"version": "%s", "tag": "%s"}\' "$VERSION" "${TAG:-}"\n')
    docker.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "VERSION": "9.9.9"}
    environment.pop("TAG", None)
    built = subprocess.run([ROOT / "images/build"], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(built.stdout) == {"version": version(ROOT / "pyproject.toml"), "tag": ""}
    assert 'variable "TAG" { default = "dev" }' in (ROOT / "images/bake.hcl").read_text()
