"""A fleet that Ansible deployed to a site: its playbooks by version, its secrets, what runs, and a load on it."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import yaml

from .judge import seen
from .loading import Loading, loading
from .play import Play, Point
from .site import ROOT, TOOLS, Site

MOCK_TURNS = (
    "import urllib.request\n"
    "print(urllib.request.urlopen('http://127.0.0.1:9119/mock/turns', timeout=30).read().decode(), end='')"
)
STARTS = (
    "docker events --since {since} --until $(date +%s) --filter container={container} --filter event=start"
    " --format '{{{{.TimeNano}}}} {{{{.Actor.Attributes.image}}}}'"
)


class Deployed:
    """What was, or is to be, deployed to a site. `client` is the machine whose network the load asks from."""

    def __init__(self, site: Site, *, coordinator: str, client: str) -> None:
        self.site = site
        self.coordinator = site[coordinator]
        self.client = site[client]
        self.url = f"http://{self.coordinator.tailnet_address}:9120"

    async def fill_vault(self) -> None:
        """Make the secrets that are missing."""
        await self.vault("fill")

    async def vault(self, action: str, *arguments: str) -> None:
        """Do what `make secrets` and `make rotate` do with the vault."""
        await self._tool("python", "vault.py", action, str(self.site.inventory), *arguments)

    async def secrets(self) -> dict[str, Any]:
        """What the vault holds."""
        found: dict[str, Any] = yaml.safe_load(
            await self._tool("ansible-vault", "view", str(self.site.inventory / "group_vars/all/vault.yml"))
        )
        return found

    async def play(self, playbook: str, *arguments: str, version: str, killed_at: Point | None = None) -> Play:
        """Run a playbook with the images of this version; they are packed in the site's own folder."""
        told = json.dumps({"version": version, "image_cache": str(self.site.folder / "images")})
        return await self.site.playbook(playbook, *arguments, "--extra-vars", told, killed_at=killed_at)

    async def running(self, machine: str, service: str) -> str:
        """The image id of what runs there as `proxy` or `coordinator`."""
        name = f"switchboard-{service}-{service}-1"
        return (await self.site[machine].run(f"docker inspect --format {{{{.Image}}}} {name}")).strip()

    async def starts(self, machine: str, service: str, since: int) -> list[tuple[float, str]]:
        """When it was started since then, in seconds since 1970, and from which image."""
        command = STARTS.format(since=since, container=f"switchboard-{service}-{service}-1")
        told = [line.split() for line in (await self.site[machine].run(command)).splitlines()]
        return [(int(nanoseconds) / 1e9, image) for nanoseconds, image in told]

    async def clock(self) -> int:
        """The machines' time, in whole seconds since 1970."""
        return int(await self.coordinator.run("date +%s"))

    @asynccontextmanager
    async def load(self, *, to: Sequence[str], per_second: float, directives: str = "") -> AsyncIterator[Loading]:
        """Ask at a steady rate while the block lasts."""
        key = (await self.secrets())["vault_consumer_key"]
        await asyncio.to_thread(self.client.container.reload)
        pid = int(self.client.container.attrs["State"]["Pid"])
        async with loading(self.url, key, pid=pid, to=to, per_second=per_second, directives=directives) as load:
            yield load

    async def seen_by_mock_agents(self, *machines: str) -> Counter[str]:
        """How often the mock agents of these machines saw each mark."""
        told = [json.loads(await self.site[machine].python(MOCK_TURNS)) for machine in machines]
        return seen(turn["text"] for each in told for turn in each["turns"])

    async def _tool(self, program: str, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *(str(TOOLS / program), *arguments),
            cwd=ROOT / "ansible",
            env={**os.environ, **self.site.environment()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, f"{program} {arguments[0]}: status {process.returncode}"
        return output.decode()
