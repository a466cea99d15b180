"""The steady load against a coordinator, proxies and agents without machines: what comes and goes costs no turn."""

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ansible.judge import Record, Verdict, judged, seen
from ansible.load import Load
from ansible.loading import LoadEnded, loading
from coordinator.keyring import give
from coordinator.stage import AGENT_KEY, PASSWORD, WAIT_SECONDS, private
from crash.stage import CrashStage
from fleet.places import LOOPBACK
from fleet.process import Process
from free_ports import port
from waiting import until

if TYPE_CHECKING:
    import httpx
    from switchboard_mock_agent.agent import MockAgent

PER_SECOND = 10.0
SLOWLY = "!!delay=0.05"
"""An answer takes half a second, so that some are at work at any moment."""
TO = ("nas", "laptop", "any@fleet")


class LoadStage(CrashStage):
    """The proxies are processes too: `restarted` ends one with SIGTERM and starts it again."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.agents: list[MockAgent] = []
        self.admin: httpx.AsyncClient
        self._proxies: dict[str, tuple[dict[str, str], Process]] = {}

    async def fleet(self) -> None:
        """Two machines, and the coordinator."""
        for name in ("nas", "laptop"):
            self.agents.append(await self.machine(name, agent_turns=0, max_turns=8))
        admin = give(self, "admin", "admin")
        await self.start()
        self.admin = await self._stack.enter_async_context(self.client_of(admin))

    async def proxy(self, name: str, api_port: int, dashboard_port: int = 9, **_: object) -> int:
        """A proxy before an agent that is at `api_port`; gives its own port."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        private(folder / "proxy_password", PASSWORD)
        private(folder / "api_server_key", AGENT_KEY)
        own = port(LOOPBACK)
        told = {
            "LISTEN_ADDRESS": LOOPBACK,
            "PORT": str(own),
            "SECRETS_FOLDER": str(folder),
            "DASHBOARD_PORT": str(dashboard_port),
            "PROFILES": json.dumps({"default": {"port": api_port}}),
        }
        env = {f"SWITCHBOARD_PROXY_{key}": value for key, value in told.items()}
        self._proxies[name] = env, await self._proxy_process(name, env)
        return own

    async def _proxy_process(self, name: str, env: dict[str, str]) -> Process:
        log = self.folder / f"{name}-proxy.log"
        return await self._stack.enter_async_context(Process(name, "switchboard-proxy", "serve", env=env, log=log))

    @asynccontextmanager
    async def away(self, name: str) -> AsyncIterator[None]:
        """The proxy of this peer has ended; when the block is left it is started again, and takes connections."""
        env, process = self._proxies[name]
        await process.__aexit__()
        yield
        self._proxies[name] = env, await self._proxy_process(name, env)
        port = int(env["SWITCHBOARD_PROXY_PORT"])
        await until(lambda: takes_connections(port), seconds=WAIT_SECONDS)

    @asynccontextmanager
    async def drained(self, name: str) -> AsyncIterator[None]:
        """This peer has no running turn in the block, and gets none."""
        (await self.admin.post(f"/api/peers/{name}/drain")).raise_for_status()
        await until(lambda: self._is_idle(name), seconds=WAIT_SECONDS)
        yield
        (await self.admin.post(f"/api/peers/{name}/undrain")).raise_for_status()

    async def _is_idle(self, name: str) -> bool:
        return bool((await self.peers())[name]["turns"]["running"] == 0)

    def load(self, to: tuple[str, ...] = TO, transport: str | None = None) -> Load:
        return Load(self.url, self.key, to=to, per_second=PER_SECOND, directives=SLOWLY, transport=transport)

    def models(self) -> Counter[str]:
        """How often each mark was seen."""
        return seen(turn.text for agent in self.agents for turn in agent.turns)

    def verdict(self, records: Sequence[Record]) -> Verdict:
        """The judgement, printed."""
        verdict = judged(records, self.models())
        print(verdict.in_words())
        return verdict


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LoadStage]:
    async with LoadStage(tmp_path) as stage:
        await stage.fleet()
        yield stage


async def takes_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except ConnectionRefusedError:
        return False
    writer.close()
    return True


async def asked(load: Load, more: int) -> None:
    """Return when so many more turns have been asked."""
    wanted = len(load.records) + more
    await until(lambda: len(load.records) >= wanted, seconds=WAIT_SECONDS + 10 * more / PER_SECOND)


async def test_a_steady_load_holds_its_rate_and_no_turn_fails(stage: LoadStage) -> None:
    async with stage.load((*TO, "all@fleet")) as load:
        await asked(load, 30)
    verdict = stage.verdict(load.records)
    assert not verdict.failures
    assert verdict.per_second > PER_SECOND / 10
    assert not verdict.resends
    assert verdict.reconnects == verdict.repeats == 0


async def test_a_load_is_the_same_as_a_program_of_its_own(stage: LoadStage) -> None:
    async with loading(stage.url, stage.key, pid=os.getpid(), to=TO, per_second=PER_SECOND) as load:
        await until(lambda: len(stage.models()) > 10, seconds=WAIT_SECONDS)
    verdict = stage.verdict(load.records)
    assert not verdict.failures
    assert verdict.turns > 10


async def test_a_load_that_cannot_be_is_told(stage: LoadStage) -> None:
    with pytest.raises(LoadEnded, match="ZeroDivisionError"):
        async with loading(stage.url, stage.key, pid=os.getpid(), to=TO, per_second=0):
            pass


async def test_a_coordinator_that_is_told_to_end_and_comes_back_costs_no_turn(stage: LoadStage) -> None:
    async with stage.load() as load:
        await asked(load, 10)
        async with stage.stopped():
            await asked(load, 10)
        await asked(load, 10)
    verdict = stage.verdict(load.records)
    assert not verdict.failures
    assert verdict.resends["no connection (ConnectError)"] > 0


async def test_what_a_killed_coordinator_had_sent_is_interrupted_and_never_sent_again(stage: LoadStage) -> None:
    async with stage.load() as load:
        await asked(load, 20)
        async with stage.crashed():
            at_work = {record.mark for record in load.open}
            await asked(load, 5)
        await asked(load, 10)
    verdict = stage.verdict(load.records)
    assert verdict.failures
    assert {failure.record.mark for failure in verdict.failures} <= at_work
    assert {failure.record.code for failure in verdict.failures} == {"peer_outcome_unknown"}
    assert max(stage.models().values()) == 1


async def test_runs_on_record_outlive_a_killed_coordinator(stage: LoadStage) -> None:
    async with stage.load(transport="runs") as load:
        await asked(load, 20)
        async with stage.crashed():
            on_record = [record for record in load.open if any("lane.run" in line for line in record.history)]
            await asked(load, 5)
        await asked(load, 10)
    verdict = stage.verdict(load.records)
    assert {record.state for record in on_record} == {"done"}
    assert [failure for failure in verdict.failures if failure.record.code != "peer_outcome_unknown"] == []
    assert verdict.reconnects > 0
    assert max(stage.models().values()) == 1


async def test_a_proxy_that_is_told_to_end_and_comes_back_costs_no_turn(stage: LoadStage) -> None:
    async with stage.load() as load:
        await asked(load, 10)
        async with stage.away("nas"):
            await asked(load, 10)
        await asked(load, 10)
    verdict = stage.verdict(load.records)
    assert not verdict.failures
    assert any("peer_unavailable" in reason for reason in verdict.resends)


async def test_a_proxy_that_is_replaced_while_its_peer_drains_is_noticed_by_no_turn(stage: LoadStage) -> None:
    async with stage.load() as load:
        await asked(load, 10)
        async with stage.drained("nas"):
            before = len(stage.agents[0].turns)
            async with stage.away("nas"):
                await asked(load, 10)
            assert len(stage.agents[0].turns) == before
        await asked(load, 10)
    verdict = stage.verdict(load.records)
    assert not verdict.failures
    assert not verdict.resends
    assert len(stage.agents[0].turns) > before


async def test_the_judge_finds_an_agent_that_dies_under_load(stage: LoadStage) -> None:
    async with stage.load() as load:
        await asked(load, 20)
        await stage.agents[0].__aexit__()
        await stage.agents[0].__aenter__()
        await asked(load, 10)
    verdict = stage.verdict(load.records)
    assert verdict.failures
    assert {failure.record.code for failure in verdict.failures} == {"peer_outcome_unknown"}


async def test_a_turn_is_given_up_in_time(stage: LoadStage) -> None:
    load = Load(stage.url, stage.key, to=["nas"], per_second=PER_SECOND, directives="!!silence=60", patience_seconds=1)
    async with load:
        await asked(load, 3)
    verdict = stage.verdict(load.records)
    assert {failure.record.state for failure in verdict.failures} == {"given up"}
    assert len(verdict.failures) == verdict.turns
    async with asyncio.TaskGroup() as cancelling:
        for record in load.records:
            cancelling.create_task(stage.client.post(f"/api/turns/{record.turns[0]}/cancel"))


async def test_a_key_that_nobody_has_is_a_failure_of_every_turn(stage: LoadStage) -> None:
    load = Load(stage.url, "no-key-of-anybody", to=["nas"], per_second=PER_SECOND)
    async with load:
        await asked(load, 3)
    assert {record.state for record in load.records} == {"refused"}
    assert {record.code for record in load.records} == {"401 invalid_api_key"}
