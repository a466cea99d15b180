"""The role `image` on the engine of this machine, the controller's and the fleet's at once. Needs an engine."""

import hashlib
import io
import json
import os
import re
import secrets
import shutil
import subprocess
import tarfile
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docker
import pytest
from ansible.other_store import OtherStore, other_store
from ansible.play import Play, play
from containers.engine import LABELS
from docker.models.images import Image

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools/ansible/bin"
PLAYBOOK = """
- name: Play one part of the role
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Play it
      ansible.builtin.include_role:
        name: image
        tasks_from: "{{ part }}"
    - name: Keep what was found
      ansible.builtin.copy:
        content: "{{ image_found | default({}) | to_json }}"
        dest: "{{ told }}"
        mode: "0600"
      check_mode: false
      changed_when: false
"""

Run = Callable[..., Any]


@pytest.fixture
def name(engine: docker.DockerClient) -> Iterator[str]:
    """A name for images; those that bear it are gone afterwards."""
    name = f"switchboard-test-image-{secrets.token_hex(4)}"
    yield name
    for image in images(engine, name):
        engine.images.remove(image, force=True)


@pytest.fixture
def role(tmp_path: Path, name: str) -> Run:
    """Plays one part of the role with these variables; the playbook's result, what it found at `.told`."""

    async def run(
        part: str, *flags: str, killed_at: int | None = None, path: str = "", engine: str = "", **given: object
    ) -> Play:
        (tmp_path / "play.yml").write_text(PLAYBOOK)
        common = {
            "part": part,
            "image_name": name,
            "image_cache": str(tmp_path / "cache"),
            "image_landing": str(tmp_path / "landing"),
            "told": str(tmp_path / "told.json"),
        }
        env = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTHON"))}
        env |= {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_HOME": str(tmp_path / "home")}
        env |= {"PATH": path or env["PATH"], "ANSIBLE_ROLES_PATH": str(ROOT / "ansible/roles"), "ANSIBLE_NOCOLOR": "1"}
        env |= {"ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0", "ANSIBLE_PIPELINING": "1"}
        env |= {"DOCKER_HOST": engine} if engine else {}
        command = [str(TOOLS / "ansible-playbook"), *flags, "--extra-vars", json.dumps(common | given)]
        log = tmp_path / "play.log"
        return await play(
            [*command, str(tmp_path / "play.yml")], folder=tmp_path, env=env, log=log, killed_at=killed_at, seconds=120
        )

    return run


@pytest.fixture
async def other(engine: docker.DockerClient) -> AsyncIterator[OtherStore]:
    """An engine that keeps its images in the other kind of store, and so calls them by other ids."""
    if os.geteuid():
        pytest.skip("another engine beside the one there is needs root: sudo make test-fast")
    async with other_store(engine) as other:
        yield other


def made(engine: docker.DockerClient, name: str, tag: str = "dev") -> Image:
    """A tiny image like ours, another one each time; nothing can be run in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(secrets.token_hex(8)))
    labels = {"org.opencontainers.image.title": name, "org.opencontainers.image.version": "0.2.0"}
    labels |= {"org.opencontainers.image.revision": "cafe", **LABELS}
    changes = [f'LABEL {key}="{value}"' for key, value in labels.items()]
    engine.api.import_image_from_data(buffer.getvalue(), repository=name, tag=tag, changes=changes)
    return engine.images.get(f"{name}:{tag}")


def images(engine: docker.DockerClient, name: str) -> set[str]:
    """The ids of images with this title."""
    return {str(one.id) for one in engine.images.list(filters={"label": f"org.opencontainers.image.title={name}"})}


def saved(image: Image, path: Path) -> Path:
    """What `docker save` makes of it, and the engine has it no more."""
    subprocess.run(f"docker save {image.id} | gzip >{path}", shell=True, check=True)  # noqa: S602 - a pipe, as find.yml has it
    subprocess.run(["docker", "image", "rm", "--force", str(image.id)], check=True, capture_output=True)
    return path


def told(tmp_path: Path) -> Any:
    """What was found of the image."""
    (found,) = json.loads((tmp_path / "told.json").read_text()).values()
    return found


async def test_what_is_here_is_found_and_saved_once(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    image = made(engine, name)
    foretold = (await role("find", "--check")).succeeded()
    assert foretold.changed == 2
    assert not (tmp_path / "cache").exists()
    assert (await role("find")).succeeded().changed == 2
    found = told(tmp_path)
    archive = tmp_path / "cache" / f"{name}-{str(image.id).removeprefix('sha256:')}.tar.gz"
    assert found == {
        "id": image.id,
        "archive": str(archive),
        "version": "0.2.0",
        "revision": "cafe",
        "reference": "",
    }
    assert list((tmp_path / "cache").iterdir()) == [archive]
    others = [archive.with_name(other) for other in (f"{name}-older.tar.gz", f"{name}-now.tar.gz", "another-x.tar.gz")]
    for other in others:
        other.write_text("")
    for path in (archive, others[0], others[2]):
        os.utime(path, (1, 1))
    assert (await role("find")).succeeded().changed == 1
    assert set((tmp_path / "cache").iterdir()) == {archive, *others[1:]}
    assert (await role("find")).succeeded().changed == 0
    assert told(tmp_path) == found


async def test_what_is_not_here_is_said_with_what_builds_it(role: Run, name: str) -> None:
    ended = await role("find", image_tag="0.9.0")
    assert ended.exit_code != 0
    assert "TAG=0.9.0 make images" in ended.output


async def test_an_engine_that_does_not_answer_here_is_said(role: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    ended = await role("find")
    assert ended.exit_code != 0
    assert "does not answer" in ended.output
    assert "make engine" in ended.output


async def test_a_machine_gets_the_image_that_it_lacks_and_is_left_alone_then(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    image = made(engine, name)
    given = {"image_id": image.id, "image_archive": str(saved(image, tmp_path / "archive"))}
    foretold = (await role("main", "--check", **given)).succeeded()
    assert "would be sent" in foretold.output
    assert foretold.changed == 1
    assert images(engine, name) == set()
    (await role("main", **given)).succeeded()
    assert images(engine, name) == {image.id}
    assert engine.images.get(str(image.id)).tags == [f"{name}:{str(image.id)[7:19]}"]
    assert told(tmp_path)["here"] == image.id
    assert not (tmp_path / "landing").exists()
    assert (await role("main", **given)).succeeded().changed == 0
    assert (await role("main", "--check", **given)).succeeded().changed == 0


@pytest.mark.deploy
async def test_killed_while_it_sends_it_ends_the_same_when_run_again(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    image = made(engine, name)
    given = {"image_id": image.id, "image_archive": str(saved(image, tmp_path / "archive"))}
    whole = (await role("main", **given)).succeeded()
    names = re.findall(r"^TASK \[image : (.*)\]", whole.output, re.MULTILINE)
    for after in ("Send the archive", "Load it"):
        engine.images.remove(str(image.id), force=True)
        # The task that includes the role comes before those of the role.
        assert (await role("main", killed_at=names.index(after) + 3, **given)).exit_code != 0
        (await role("main", **given)).succeeded()
        assert images(engine, name) == {image.id}
        assert engine.images.get(str(image.id)).tags == [f"{name}:{str(image.id)[7:19]}"]
        assert not (tmp_path / "landing").exists()


async def test_an_archive_that_a_killed_run_left_is_removed(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    image = made(engine, name)
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing/left.tar.gz").write_text("half of it")
    (await role("main", image_id=image.id, image_archive=str(tmp_path / "not needed"))).succeeded()
    assert not (tmp_path / "landing").exists()


async def test_an_archive_of_another_image_is_told_and_removed(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    archive = saved(made(engine, name), tmp_path / "archive")
    other = "sha256:" + 64 * "5"
    ended = await role("main", image_id=other, image_archive=str(archive))
    assert ended.exit_code != 0
    assert f"is no archive of the image {other}" in " ".join(ended.output.split())
    assert images(engine, name) == set()
    assert not (tmp_path / "landing").exists()


async def test_without_a_way_to_the_image_it_says_what_to_give(role: Run) -> None:
    for given in ({}, {"image_id": "switchboard-proxy:dev", "image_archive": "/x"}):
        ended = await role("main", **given)
        assert ended.exit_code != 0
        assert "give image_registry_reference, or image_archive and image_id" in " ".join(ended.output.split())


async def test_before_there_is_an_engine_check_mode_foretells(role: Run, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("chmod", "mkdir", "rm", "sh", "sleep"):
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    given = {"image_id": "sha256:" + 64 * "5", "image_archive": "/absent", "path": str(tmp_path / "bin")}
    ended = (await role("main", "--check", **given)).succeeded()
    assert "would be sent" in ended.output
    (await role("tidy", "--check", image_keep=[], path=str(tmp_path / "bin"))).succeeded()


@pytest.mark.deploy
async def test_older_images_go_but_those_that_a_container_uses(
    engine: docker.DockerClient, role: Run, name: str
) -> None:
    kept, used, old = made(engine, name), made(engine, name, "0.1.0"), made(engine, name, "0.0.9")
    assert old.tag(name, "another")
    nameless = made(engine, name, "0.0.9")
    nameless.tag(f"elsewhere/{name}", "0.0.9")
    container = engine.containers.create(str(used.id), command=["/x"], labels=LABELS)
    try:
        foretold = (await role("tidy", "--check", image_keep=[kept.id])).succeeded()
        assert " ".join(foretold.output.split()).count(", would be removed") == 2
        assert images(engine, name) == {kept.id, used.id, old.id, nameless.id}
        (await role("tidy", image_keep=[kept.id])).succeeded()
        assert images(engine, name) == {kept.id, used.id}
        assert (await role("tidy", image_keep=[kept.id])).succeeded().changed == 0
    finally:
        container.remove()
    (await role("tidy", image_keep=[kept.id])).succeeded()
    assert images(engine, name) == {kept.id}


@pytest.mark.deploy
async def test_a_machine_whose_engine_gives_other_ids_has_the_image_under_its_name(
    engine: docker.DockerClient, other: OtherStore, role: Run, name: str, tmp_path: Path
) -> None:
    image, old = made(engine, name), made(engine, name, "0.1.0")
    called = f"{name}:{str(image.id)[7:19]}"
    given: dict[str, Any] = {"image_id": image.id, "image_archive": str(saved(image, tmp_path / "archive"))}
    given |= {"engine": other.address}
    foretold = (await role("main", "--check", **given)).succeeded()
    assert "would be sent" in foretold.output
    assert foretold.changed == 1
    assert told(tmp_path)["here"] == image.id
    # A run that is killed before it names what it loaded leaves this behind.
    with (tmp_path / "archive").open("rb") as archive:
        other.engine.images.load(archive)
    (await role("main", **given)).succeeded()
    (here,) = images(other.engine, name)
    assert here != image.id
    assert told(tmp_path)["here"] == here
    assert other.engine.images.get(here).tags == [called]
    assert (await role("main", **given)).succeeded().changed == 0
    assert (await role("main", "--check", **given)).succeeded().changed == 0
    assert told(tmp_path)["here"] == here

    with saved(old, tmp_path / "older").open("rb") as archive:
        other.engine.images.load(archive)
    assert len(images(other.engine, name)) == 2
    (await role("tidy", image_keep=[here], engine=other.address)).succeeded()
    assert images(other.engine, name) == {here}


async def test_what_an_engine_of_the_other_kind_built_is_had_here(
    engine: docker.DockerClient, other: OtherStore, role: Run, name: str, tmp_path: Path
) -> None:
    image = made(other.engine, name)
    (await role("find", engine=other.address)).succeeded()
    found = told(tmp_path)
    assert found["id"] == image.id
    given = {"image_id": found["id"], "image_archive": found["archive"]}
    (await role("main", **given)).succeeded()
    (here,) = images(engine, name)
    assert here != image.id
    assert told(tmp_path)["here"] == here
    assert engine.images.get(here).tags == [f"{name}:{str(image.id)[7:19]}"]
    assert (await role("main", **given)).succeeded().changed == 0


async def test_a_name_that_was_given_to_another_image_is_given_back(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    image, another = made(engine, name), made(engine, name, "0.1.0")
    assert another.tag(name, str(image.id)[7:19])
    (await role("main", image_id=image.id, image_archive="/not/needed")).succeeded()
    assert told(tmp_path)["here"] == image.id
    assert engine.images.get(f"{name}:{str(image.id)[7:19]}").id == image.id


@contextmanager
def registry(archive: Path) -> Iterator[str]:
    """A registry on loopback with the one image of an archive, under every name; yields its host and port."""
    blobs: dict[str, bytes] = {}
    with tarfile.open(archive) as saved_image:
        for member in saved_image:
            file = saved_image.extractfile(member)
            blobs[member.name] = file.read() if file else b""
    listed = json.loads(blobs["index.json"])["manifests"][0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, kind = b"{}", "application/json"
            if "/manifests/" in self.path:
                body, kind = blobs["blobs/sha256/" + listed["digest"].removeprefix("sha256:")], listed["mediaType"]
            elif "/blobs/sha256:" in self.path:
                body, kind = blobs["blobs/sha256/" + self.path.rpartition(":")[2]], "application/octet-stream"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def test_a_machine_pulls_where_a_registry_is_named(
    engine: docker.DockerClient, role: Run, name: str, tmp_path: Path
) -> None:
    image = made(engine, name)
    with registry(saved(image, tmp_path / "archive")) as place:
        (await role("find", image_registry=f"{place}/x", image_tag="0.2.0")).succeeded()
        reference = told(tmp_path)["reference"]
        assert reference == f"{place}/x/{name}:0.2.0"
        assert (await role("main", "--check", image_registry_reference=reference)).succeeded().changed == 1
        assert images(engine, name) == set()
        (await role("main", image_registry_reference=reference)).succeeded()
        assert images(engine, name) == {image.id}
        assert told(tmp_path)["here"] == image.id
        assert (await role("main", image_registry_reference=reference)).succeeded().changed == 0
