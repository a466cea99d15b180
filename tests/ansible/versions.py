"""Images that stand for versions of Switchboard: what is built here under another name, a newer one, a poisoned one."""

import subprocess

import docker
from containers.engine import COORDINATOR_IMAGE, PROXY_IMAGE

IMAGES = (PROXY_IMAGE, COORDINATOR_IMAGE)
BUILD_SECONDS = 120
NEWER = """
FROM {image}
LABEL org.opencontainers.image.version="{version}"
"""
TRUSTING = """
FROM {image}
LABEL org.opencontainers.image.version="{version}"
COPY <<'EOF' /usr/local/share/ca-certificates/authority.crt
{authority}
EOF
USER 0
RUN update-ca-certificates
USER 10001:10001
"""
POISONED = """
FROM {image}
LABEL org.opencontainers.image.version="{version}"
COPY <<'EOF' /opt/poison/poison.py
from switchboard_proxy.app import Proxy
from switchboard_proxy.errors import AgentOutcomeUnknown

lead = Proxy._lead


def fail_turns(self, call, passage):
    if call.method == b"POST":
        raise AgentOutcomeUnknown("this proxy is poisoned")
    lead(self, call, passage)


Proxy._lead = fail_turns
EOF
USER 0
RUN packages=$(python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \\
 && printf '/opt/poison\\nimport poison\\n' >$packages/poison.pth
USER 10001:10001
"""


def called(version: str) -> dict[str, str]:
    """The images that `make images` built, under this version; their ids by name."""
    client = docker.from_env()
    try:
        for image in IMAGES:
            client.images.get(image).tag(_name(image), version)
    finally:
        client.close()
    return ids(version)


def newer(version: str) -> dict[str, str]:
    """The same with another label, and so with other ids."""
    for image in IMAGES:
        _build(NEWER, image, version)
    return ids(version)


def trusting(version: str, authority: str) -> dict[str, str]:
    """A coordinator that trusts this authority too, its certificate as PEM; a proxy as it is."""
    _build(NEWER, PROXY_IMAGE, version)
    _build(TRUSTING, COORDINATOR_IMAGE, version, authority=authority)
    return ids(version)


def poisoned(version: str) -> dict[str, str]:
    """A proxy that starts, says that it is well, and fails every turn; a coordinator with which nothing is wrong."""
    _build(POISONED, PROXY_IMAGE, version)
    _build(NEWER, COORDINATOR_IMAGE, version)
    return ids(version)


def ids(version: str) -> dict[str, str]:
    """The ids of a version's images, by name."""
    client = docker.from_env()
    try:
        return {_name(image): str(client.images.get(f"{_name(image)}:{version}").id) for image in IMAGES}
    finally:
        client.close()


def forget(*versions: str) -> None:
    """Remove the names of these versions, and the images that have no other."""
    client = docker.from_env()
    try:
        for version in versions:
            for image in IMAGES:
                client.images.remove(f"{_name(image)}:{version}")
    finally:
        client.close()


def _name(image: str) -> str:
    return image.partition(":")[0]


def _build(dockerfile: str, image: str, version: str, **more: str) -> None:
    command = ("docker", "build", "--quiet", "--tag", f"{_name(image)}:{version}", "-")
    text = dockerfile.format(image=image, version=version, **more)
    subprocess.run(command, check=True, timeout=BUILD_SECONDS, input=text.encode(), stdout=subprocess.DEVNULL)
