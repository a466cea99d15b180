"""What the images are: small promises to those who run them."""

import base64
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator

import docker
import pytest

from .engine import BARE, COORDINATOR_IMAGE, MOCK_AGENT_IMAGE, PROXY_IMAGE, USER

BASE = "debian:trixie-slim"
IMAGES = [PROXY_IMAGE, COORDINATOR_IMAGE, MOCK_AGENT_IMAGE]
EX_CONFIG = 78
CERTIFICATE = re.compile(rb"-----BEGIN (TRUSTED )?CERTIFICATE-----\s+[A-Za-z0-9+/]{40}")


def run(engine: docker.DockerClient, image: str, command: list[str], **more: object) -> tuple[int, str]:
    """Exit status and what was said, of a container as bare as the services'."""
    container = engine.containers.create(image, command, **BARE | more)
    try:
        container.start()
        status = container.wait(timeout=60)["StatusCode"]
        return status, container.logs().decode()
    finally:
        container.remove(force=True)


def files_above_the_base(engine: docker.DockerClient, image: str) -> Iterator[tuple[str, bytes]]:
    """Every file of every layer that we added, also of those that a later layer hides."""
    base = engine.images.get(BASE).attrs["RootFS"]["Layers"]
    found = engine.images.get(image)
    assert found.attrs["RootFS"]["Layers"][: len(base)] == base
    with tarfile.open(fileobj=io.BytesIO(b"".join(found.save()))) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        for layer in json.load(manifest)[0]["Layers"][len(base) :]:
            with tarfile.open(fileobj=archive.extractfile(layer)) as files:
                for member in files:
                    content = files.extractfile(member) if member.isfile() else None
                    yield member.name, content.read() if content else b""


@pytest.mark.parametrize(
    ("image", "name"), [(PROXY_IMAGE, "SWITCHBOARD_PROXY"), (COORDINATOR_IMAGE, "SWITCHBOARD_COORDINATOR")]
)
def test_a_service_without_settings_refuses_to_start_and_says_what_to_set(
    engine: docker.DockerClient, image: str, name: str
) -> None:
    status, said = run(engine, image, ["serve"])
    assert status == EX_CONFIG
    assert f"{name}_LISTEN_ADDRESS is missing: set it" in said
    assert "Traceback" not in said


def test_a_proxy_refuses_an_address_that_others_can_reach(engine: docker.DockerClient) -> None:
    status, said = run(engine, PROXY_IMAGE, ["serve"], environment={"SWITCHBOARD_PROXY_LISTEN_ADDRESS": "0.0.0.0"})
    assert status == EX_CONFIG
    assert "SWITCHBOARD_PROXY_LISTEN_ADDRESS is 0.0.0.0" in said
    assert len(said.splitlines()) == 1


def test_a_proxy_without_its_secrets_refuses_to_start_and_names_the_file(engine: docker.DockerClient) -> None:
    status, said = run(engine, PROXY_IMAGE, ["serve"], environment={"SWITCHBOARD_PROXY_LISTEN_ADDRESS": "127.0.0.1"})
    assert status == EX_CONFIG
    assert "/run/switchboard/secrets/proxy_password is missing" in said


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_as_a_numeric_user_and_says_what_it_is(engine: docker.DockerClient, image: str) -> None:
    config = engine.images.get(image).attrs["Config"]
    assert config["User"] == f"{USER}:{USER}"
    labels = config["Labels"]
    for label in ("title", "description", "version", "revision", "created", "source"):
        assert labels[f"org.opencontainers.image.{label}"]
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.base.name"].endswith(BASE)
    assert config["Healthcheck"]["Test"]


@pytest.mark.parametrize("image", IMAGES)
def test_no_layer_holds_the_builders_certificates_or_a_build_secret(engine: docker.DockerClient, image: str) -> None:
    certificates, records = {}, b""
    for name, content in files_above_the_base(engine, image):
        assert not name.startswith(("run/secrets/", "etc/ssl/", "usr/local/share/ca-certificates/")), name
        if CERTIFICATE.search(content):
            certificates[name] = content
        if re.search(r"/certifi-[^/]+\.dist-info/RECORD$", name):
            records += content
    # A package may bring a bundle: then it is byte for byte what its author listed.
    for name, content in certificates.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
        assert b"certifi/cacert.pem,sha256=" + digest in records, name


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_of_the_builders_environment_is_in_an_image(engine: docker.DockerClient, image: str) -> None:
    found = engine.images.get(image)
    names = {entry.partition("=")[0] for entry in found.attrs["Config"]["Env"]}
    assert names == {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"}
    steps = "\n".join(step["CreatedBy"] for step in found.history())
    arguments = set(re.findall(r"^ARG (\w+)", steps, re.MULTILINE))
    assert arguments == {"VERSION", "REVISION", "CREATED", "SOURCE"}
    assert not re.search(r"(?i)(password|secret|token|key)=|://[^/\s]*@", steps)


def test_a_proxy_adds_little_to_its_base(engine: docker.DockerClient) -> None:
    image, base = (engine.images.get(name).attrs["Size"] for name in (PROXY_IMAGE, BASE))
    print(f"{(image - base) / 1e6:.1f} MB over {BASE}")
    assert image - base <= 80e6


@pytest.mark.parametrize(
    ("image", "others"),
    [
        (
            PROXY_IMAGE,
            ("switchboard_coordinator", "switchboard_mock_agent", "aiohttp", "httpx", "uvicorn", "typer", "pip"),
        ),
        (COORDINATOR_IMAGE, ("switchboard_proxy", "switchboard_mock_agent", "aiohttp", "pip")),
        (MOCK_AGENT_IMAGE, ("switchboard_coordinator", "switchboard_proxy", "switchboard_relay", "pip")),
    ],
)
def test_an_image_holds_its_own_member_alone(engine: docker.DockerClient, image: str, others: tuple[str, ...]) -> None:
    script = "import importlib.util, sys; print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    status, said = run(engine, image, ["-c", script, *others], entrypoint=["python3"])
    assert (status, said.strip()) == (0, "[]")
