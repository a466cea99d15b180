"""The whole path with real agents: their model, two gateways, a proxy before each, the coordinator."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

from fleet.process import Ended
from waiting import until

from real_agent.agent import RealAgent
from real_agent.model import Model
from real_agent.switchboard import Machine, Switchboard

UP_SECONDS = 30.0
LAST_LINES = 40


class Stage:
    """`nas` serves the profiles default and work from one gateway and has a dashboard; `laptop` serves default alone.

    A context manager, ready for turns when it is entered; everything it writes is under `folder`.
    """

    def __init__(self, folder: Path, *, proxy_port: int | None = None) -> None:
        self.folder = folder
        self.model = Model()
        self.switchboard: Switchboard
        self.nas = RealAgent(
            "nas", self.model, folder / "nas", profiles=("default", "work"), multiplex=True, dashboard=True
        )
        self.laptop = RealAgent("laptop", self.model, folder / "laptop")
        self._proxy_port = proxy_port
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._stack.enter_async_context(self.model)
            await self._start_agents()
            self.switchboard = Switchboard(
                self.folder / "switchboard",
                [
                    Machine(self.nas, {"default": "", "work": "/p/work"}, self.nas.key, {"work": ["code"]}),
                    Machine(self.laptop, {"default": ""}, self.laptop.key, {"default": ["code"]}),
                ],
                proxy_port=self._proxy_port,
            )
            await self._stack.enter_async_context(self.switchboard)
            await self.all_up()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def all_up(self) -> None:
        """Wait until the coordinator has found every peer up. Raises Ended, with the last state, when it does not."""

        async def are_up() -> bool:
            return {peer["state"] for peer in (await self.switchboard.peers()).values()} == {"up"}

        try:
            await until(are_up, seconds=UP_SECONDS)
        except TimeoutError as late:
            raise Ended(f"not all peers are up: {await self.switchboard.peers()}") from late

    def last_words(self) -> dict[str, str]:
        """The ends of all logs, for a message: agent, proxies, coordinator."""
        logs = {"nas": self.nas.log(), "laptop": self.laptop.log(), **self.switchboard.logs()}
        return {name: "\n".join(log.splitlines()[-LAST_LINES:]) for name, log in logs.items()}

    async def _start_agents(self) -> None:
        """Both at once; when one does not come up, the other is ended too."""
        started = await asyncio.gather(
            *(self._stack.enter_async_context(agent) for agent in (self.nas, self.laptop)), return_exceptions=True
        )
        for outcome in started:
            if isinstance(outcome, BaseException):
                raise outcome
