"""Mock agents and real proxies in the test's process, and a coordinator that is a process of its own, to be killed."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
import yaml
from coordinator.stage import Stage
from fleet.process import Process
from free_ports import port
from switchboard_coordinator.keys.consumers_file import add_consumer
from waiting import until

LOOPBACK = "127.0.0.1"
START_SECONDS = 30.0


class CrashStage(Stage):
    """Peers are added first, then `start` runs the coordinator; `crashed` kills it and starts it again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.started_at = 0.0
        """When the coordinator was started last, of `time.monotonic`."""
        self._port = port(LOOPBACK)
        self._env: dict[str, str] = {}
        self._starts = 0
        self._process: Process

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self

    async def start(self, *, watched: bool = True, **settings: Any) -> None:
        """Run the coordinator and wait until it has looked at every peer once."""
        self.peers_file.write_text(yaml.safe_dump({"peers": self.peers_named}, sort_keys=False))
        self.key = add_consumer(self.secrets / "consumers", "me")
        told = {"listen_address": LOOPBACK, "port": self._port, "peers_file": self.peers_file, **settings}
        told |= {"secrets_folder": self.secrets, "database_file": self.database_file}
        self._env = {f"SWITCHBOARD_COORDINATOR_{name.upper()}": str(value) for name, value in told.items()}
        self.url = f"http://{LOOPBACK}:{self._port}"
        self.client = await self._stack.enter_async_context(self.client_of(self.key))
        await self._run()
        if watched:
            await until(self._has_looked, seconds=START_SECONDS)

    @property
    def pid(self) -> int:
        """The coordinator's process."""
        return self._process.pid

    async def _run(self) -> None:
        self._starts += 1
        log = self.folder / f"coordinator-{self._starts}.log"
        self.started_at = time.monotonic()
        process = Process("coordinator", "switchboard", "serve", env=self._env, log=log)
        self._process = await self._stack.enter_async_context(process)
        await until(self._is_ready, seconds=START_SECONDS)

    async def _is_ready(self) -> bool:
        self._process.check()
        try:
            return (await self.client.get("/readyz")).status_code == 200
        except httpx.TransportError:
            return False

    @asynccontextmanager
    async def crashed(self) -> AsyncIterator[None]:
        """The coordinator dies by SIGKILL; when the block is left it is started again."""
        await self._process.kill()
        yield
        await self._run()

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """The coordinator is told to end, and ends; when the block is left it is started again."""
        await self._process.__aexit__()
        yield
        await self._run()

    def recorded(self) -> dict[str, list[dict[str, Any]]]:
        """What the database holds of every turn: its events."""
        with closing(sqlite3.connect(self.database_file)) as database:
            rows = database.execute("select turn, events from entries order by turn, first").fetchall()
        told: dict[str, list[dict[str, Any]]] = {}
        for turn_id, events in rows:
            told.setdefault(turn_id, []).extend(orjson.loads(events))
        return told
