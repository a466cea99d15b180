"""One machine's real hermes-agent: a gateway, where asked a dashboard, and a HERMES_HOME of their own."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Self
from uuid import uuid4

import httpx
from fleet.places import LOOPBACK
from free_ports import port
from waiting import until

from real_agent import processes
from real_agent.home import write_home
from real_agent.installation import install
from real_agent.model import Model

START_SECONDS, STOP_SECONDS = 60.0, 15.0
ANSWER_SECONDS = 60.0  # the first turn of an agent takes 4 s on an idle machine


class NotReady(Exception):
    """An agent did not come up; the words hold the end of its output."""


class RealAgent:
    """A real gateway behind `api_port`, with its profiles' turns answered by `model`; a context manager.

    Its key is in `key`, its log in `log()`, and everything it writes is under `folder`.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        folder: Path,
        *,
        profiles: Sequence[str] = ("default",),
        multiplex: bool = False,
        dashboard: bool = False,
        tools: Path | None = None,
    ) -> None:
        """`tools` is a folder of programs that the agent finds first, beside its own."""
        self.name, self.profiles, self.multiplex = name, tuple(profiles), multiplex
        self.key = secrets.token_hex(16)
        self.api_port, self.dashboard_port = port(LOOPBACK), port(LOOPBACK)
        self.run = uuid4().hex
        self.has_dashboard = dashboard
        self._model, self._tools = model, tools
        self._folder, self._home = folder, folder / "home"
        self._processes: list[asyncio.subprocess.Process] = []

    @property
    def url(self) -> str:
        """Where its API server answers."""
        return f"http://{LOOPBACK}:{self.api_port}"

    def client(self) -> httpx.AsyncClient:
        """A client with its own key, past every proxy."""
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=ANSWER_SECONDS, trust_env=False)

    def log(self) -> str:
        """What the agent has logged so far, access log included."""
        file = self._home / "logs" / "agent.log"
        return file.read_text(errors="replace") if file.exists() else ""

    async def __aenter__(self) -> Self:
        self._programs = await asyncio.to_thread(install)
        write_home(
            self._home,
            providers={profile: self._model.base_url(self.name, profile) for profile in self.profiles},
            multiplex=self.multiplex,
            api_port=self.api_port,
            key=self.key,
        )
        try:
            gateway = await self._start_gateway()
            if self.has_dashboard:
                where = ["--host", LOOPBACK, "--port", str(self.dashboard_port)]
                await self._start("dashboard", "dashboard", *where, "--no-open", "--skip-build")
            await self._ready(gateway)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """SIGTERM, a grace time, SIGKILL, by pid. Raises LeftBehind when a child outlives gateway and dashboard."""
        for process in self._processes:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(process.wait() for process in self._processes))
        except TimeoutError:  # an agent thread that is still at work holds its gateway
            processes.kill([process.pid for process in self._processes if process.returncode is None])
            await asyncio.gather(*(process.wait() for process in self._processes))
        processes.check_none_left(self.run, self.name)

    async def kill(self) -> None:
        """SIGKILL to all there is of it, by pid; `stop` then finds nothing to wait for.

        hermes-agent 0.19.0: a dashboard never ends on SIGTERM once its Kanban tab was open, nor do its terminals.
        """

        def is_gone() -> bool:  # asked again: whoever was being started at the first look is found at the next one
            left = processes.marked(self.run)
            processes.kill(left)
            return not left

        await until(is_gone, seconds=STOP_SECONDS)
        await asyncio.gather(*(process.wait() for process in self._processes))

    @asynccontextmanager
    async def killed(self) -> AsyncIterator[None]:
        """Its gateway dies by SIGKILL; a new one answers when the block is left."""
        gateway = self._processes.pop(0)
        processes.kill([gateway.pid])
        await gateway.wait()
        try:
            yield
        finally:
            await self._ready(await self._start_gateway())

    async def _start_gateway(self) -> asyncio.subprocess.Process:
        gateway = await self._start("gateway", "gateway", "run")
        self._processes.sort(key=lambda process: process is not gateway)  # the first is the gateway
        return gateway

    async def _start(self, name: str, *arguments: str) -> asyncio.subprocess.Process:
        user_home = self._folder / "user"
        user_home.mkdir(exist_ok=True)
        path = [str(folder) for folder in (self._programs, self._tools) if folder is not None]
        nowhere = "http://127.0.0.1:9"  # the discard port: whoever tries the internet is refused at once
        env = {
            "PATH": os.pathsep.join([*path, "/usr/local/bin", "/usr/bin", "/bin"]),
            "HOME": str(user_home),
            "LANG": "C.UTF-8",
            "HERMES_HOME": str(self._home),
            "HERMES_GATEWAY_MAX_STARTS": "0",  # else it pauses after 5 starts in 120 s
            "HTTP_PROXY": nowhere,
            "HTTPS_PROXY": nowhere,
            "NO_PROXY": "127.0.0.1,localhost",
            processes.MARK: self.run,
        }
        with (self._folder / f"{name}.log").open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                self._programs / "hermes",
                *arguments,
                env=env,
                cwd=user_home,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the test run is ours to handle
            )
        self._processes.append(process)
        return process

    async def _ready(self, gateway: asyncio.subprocess.Process) -> None:
        """Until this very process answers: a gateway whose port is taken stays up, and another one answers there."""
        async with httpx.AsyncClient(headers={"Authorization": f"Bearer {self.key}"}, trust_env=False) as client:

            async def answers() -> bool:
                ended = [process for process in self._processes if process.returncode is not None]
                if ended:
                    raise NotReady(f"{self.name} ended with status {ended[0].returncode}: {self.last_words()}")
                with suppress(httpx.HTTPError, json.JSONDecodeError):  # another one answers as it likes
                    health = await client.get(f"{self.url}/health/detailed")
                    if health.status_code != 200 or health.json()["pid"] != gateway.pid:
                        return False
                    if self.has_dashboard:
                        await client.get(f"http://{LOOPBACK}:{self.dashboard_port}/api/status")
                    return True
                return False

            try:
                await until(answers, seconds=START_SECONDS)
            except TimeoutError as late:
                raise NotReady(f"{self.name} is not ready after {START_SECONDS:g} s: {self.last_words()}") from late

    def last_words(self) -> str:
        """The end of what its processes wrote to their standard output, for a message."""
        return " / ".join(line for log in self._folder.glob("*.log") for line in log.read_text().splitlines()[-5:])
