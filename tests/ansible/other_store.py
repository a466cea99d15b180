"""An engine beside the one there is, with the other kind of image store: containerd's, or the classic one.

It keeps images and runs nothing. Its network is its own and empty, so that it takes nothing from the one there is.
"""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import docker

START_SECONDS = 60
STOP_SECONDS = 20


def is_containerds(engine: docker.DockerClient) -> bool:
    """Whether this engine keeps its images in containerd's store."""
    return ["driver-type", "io.containerd.snapshotter.v1"] in (engine.info()["DriverStatus"] or ())


@dataclass(frozen=True)
class OtherStore:
    """An engine that runs, and its address, as DOCKER_HOST takes it."""

    engine: docker.DockerClient
    address: str


@asynccontextmanager
async def other_store(engine: docker.DockerClient) -> AsyncIterator[OtherStore]:
    """Run it while the block lasts. What it has is in a folder with a short name, for names of sockets have a limit."""
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:
        process = await asyncio.create_subprocess_exec(*_command(engine, Path(folder)), stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(START_SECONDS):
                await _listening(process)
            address = f"unix://{folder}/docker.sock"
            client = docker.DockerClient(address, version=engine.api.api_version)
            try:
                yield OtherStore(client, address)
            finally:
                client.close()
        finally:
            if process.returncode is None:
                process.terminate()
            async with asyncio.timeout(STOP_SECONDS):
                await process.communicate()


def _command(engine: docker.DockerClient, folder: Path) -> list[str]:
    settings = {
        "features": {"containerd-snapshotter": not is_containerds(engine)},
        "hosts": [f"unix://{folder}/docker.sock"],
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "pid"),
        "bridge": "none",
        "iptables": False,
        "ip6tables": False,
    }
    (folder / "daemon.json").write_text(json.dumps(settings))
    return ["unshare", "--net", "--mount", "dockerd", "--config-file", str(folder / "daemon.json")]


async def _listening(process: asyncio.subprocess.Process) -> None:
    assert process.stderr
    said = b""
    while b"API listen on" not in said[-1000:]:
        line = await process.stderr.readline()
        said += line
        assert line, said.decode()
