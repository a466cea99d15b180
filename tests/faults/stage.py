"""A real coordinator and slots of peers, each peer with a faulty stretch before its proxy and one before its agent.

A slot runs one schedule at a time; slots have nothing in common but the coordinator.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from coordinator.stage import AGENT_KEY, PASSWORD, Stage, private
from doubles.faulty import Crossing, Faulty
from doubles.raw_client import RawClient
from doubles.running_proxy import RunningProxy, serving_proxy
from doubles.serving import listening
from switchboard_mock_agent.agent import MockAgent
from switchboard_proxy.settings import Profile, ProxySettings

from .client import Caller
from .schedule import PEERS, Ask, Hop

AGENT_TURNS = (1, 2, 10)
"""What the agents of a slot take at once: some are soon at their limit."""


@dataclass(frozen=True)
class Machine:
    """One peer."""

    name: str
    agent: MockAgent
    proxy: RunningProxy
    hops: dict[Hop, Faulty]

    @contextmanager
    def draining(self, hop: Hop) -> Iterator[None]:
        """What stands at this hop's end takes no new turn in this block, as between SIGTERM and its end."""
        what = self.proxy.server if hop == "proxy" else self.agent.gateway
        what.is_draining = True
        try:
            yield
        finally:
            what.is_draining = False

    async def end_runs(self, text: str, *, older_than_seconds: float = 0.0) -> None:
        """Stop the runs whose question contains this, behind everybody's back."""
        for turn in self.agent.executed(text):
            age = time.monotonic() - turn.started_at
            if turn.run_id and turn.state == "running" and age >= older_than_seconds:
                async with RawClient(self.agent.api_port) as client:
                    path, bearer = f"/v1/runs/{turn.run_id}/stop", f"Authorization: Bearer {AGENT_KEY}"
                    client.send(f"POST {path} HTTP/1.1\r\nHost: agent\r\n{bearer}\r\n\r\n".encode())
                    await client.reply("POST")

    def forget(self) -> None:
        """Drop the record of connections that are over."""
        for hop in self.hops.values():
            hop.forget()

    @property
    def is_at_rest(self) -> bool:
        """Nothing runs, and nothing is on its way."""
        idle = all(
            direction.came == direction.crossed
            for hop in self.hops.values()
            for crossing in hop.crossings
            if not crossing.is_over
            for direction in (crossing.asked, crossing.answered)
        )
        return idle and all(turn.state != "running" for turn in self.agent.turns)

    @property
    def crossings(self) -> list[Crossing]:
        """The coordinator's connections to this peer."""
        return self.hops["proxy"].crossings


@dataclass(frozen=True)
class Slot:
    """The peers of one schedule."""

    group: str
    machines: tuple[Machine, ...]

    def model(self, ask: Ask) -> str:
        """Where this is to be sent."""
        return self.machines[ask.peer].name if ask.mode == "one" else f"{ask.mode}@{self.group}"

    @property
    def models(self) -> set[str]:
        """Everywhere that something can be sent."""
        groups = (f"{mode}@{self.group}" for mode in ("any", "first", "all"))
        return {*groups, *(machine.name for machine in self.machines)}

    @property
    def is_at_rest(self) -> bool:
        """Nothing runs, and nothing is on its way, at any of its peers."""
        return all(machine.is_at_rest for machine in self.machines)


class FaultyStage(Stage):
    """Slots are added first, then `start` brings the coordinator up."""

    async def slot(self, number: int) -> Slot:
        """One more slot."""
        group = f"slot{number}"
        machines = [await self.faulty_machine(f"{group}-{name}", group, turns) for name, turns in _NAMED]
        return Slot(group, tuple(machines))

    async def faulty_machine(self, name: str, group: str, agent_turns: int) -> Machine:
        """An agent behind a proxy, both behind a faulty stretch."""
        agent = await self._stack.enter_async_context(MockAgent(name, key=AGENT_KEY, max_turns=agent_turns))
        to_agent = await self._stack.enter_async_context(Faulty(agent.api_port))
        listener = listening()
        to_proxy = await self._stack.enter_async_context(Faulty(listener.getsockname()[1]))
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        private(folder / "proxy_password", PASSWORD)
        private(folder / "api_server_key", AGENT_KEY)
        settings = ProxySettings(
            listen_address=ip_address("127.0.0.1"),
            port=to_proxy.port,  # the port that callers name in Host
            secrets_folder=folder,
            profiles={"default": Profile(port=to_agent.port)},
        )
        proxy = await self._stack.enter_async_context(serving_proxy(settings, listener))
        self.peer(name, to_proxy.port, profiles={"default": {"capabilities": [group]}})
        return Machine(name, agent, proxy, {"proxy": to_proxy, "agent": to_agent})

    @property
    def caller(self) -> Caller:
        """A client."""
        port = urlsplit(self.url).port
        assert port is not None
        return Caller(port, self.key)


_NAMED = tuple(zip("abc"[:PEERS], AGENT_TURNS, strict=True))
