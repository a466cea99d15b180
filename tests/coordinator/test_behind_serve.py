"""A peer whose proxy is on loopback behind Tailscale Serve: asked over HTTPS, and only where it shows who it is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from coordinator.stage import Stage
from doubles.tailscale_serve import CALLER, NAME, Authority, serve
from free_ports import port
from switchboard_coordinator.doctor.findings import Walk
from switchboard_coordinator.doctor.walk import Ground, walk_to
from switchboard_coordinator.peers.peers_file import PeersFile
from switchboard_mock_agent.agent import MockAgent


class Served:
    """The peer `nas`, with Serve before it, which shows a certificate for `shown`."""

    def __init__(self, stage: Stage, authority: Authority, stack: AsyncExitStack) -> None:
        self.stage = stage
        self._authority, self._stack = authority, stack

    async def machine(self, *, shown: str = NAME) -> MockAgent:
        public = port("127.0.0.1")
        settings = {"behind_serve": True, "names": (NAME,), "serve_port": public}
        agent = await self.stage.machine("nas", proxy=settings)
        entry = self.stage.peers_named["nas"]
        await self._stack.enter_async_context(serve(entry["port"], self._authority.certificate(shown), at=public))
        entry |= {"host": NAME, "port": public, "tls": True}
        return agent

    async def walk(self) -> Walk:
        """The doctor's."""
        peers = PeersFile.model_validate({"peers": self.stage.peers_named}).peers
        (walk,) = await walk_to(["nas"], Ground(peers, self.stage.peers_file, self.stage.secrets, False, 10.0))
        return walk


@pytest.fixture
async def served(stage: Stage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Served]:
    authority = Authority()
    authority.trusted(monkeypatch, tmp_path)
    async with AsyncExitStack() as stack:
        yield Served(stage, authority, stack)


async def test_a_peer_behind_serve_is_up_and_answers(served: Served) -> None:
    agent = await served.machine()
    await served.stage.start()
    nas = (await served.stage.peers())["nas"]
    assert (nas["state"], nas["host"], nas["tls"]) == ("up", NAME, True)
    for number in range(3):
        heard = await served.stage.hear("nas", f"question {number}")
        assert (heard.is_whole, heard.text) == (True, f"[nas] echo: question {number}")
    assert len(agent.turns) == 3
    assert {line["client"] for line in served.stage.proxies["nas"].log.lines} == {CALLER}


async def test_a_run_of_a_peer_behind_serve_is_started_and_followed(served: Served) -> None:
    await served.machine()
    served.stage.peers_named["nas"]["transport"] = "runs"
    await served.stage.start()
    begun = await served.stage.begin("nas", "a run")
    turn = await served.stage.ended(begun.json()["id"])
    assert (turn["state"], turn["lanes"][0]["text"]) == ("done", "[nas] echo: a run")


async def test_who_shows_another_machines_certificate_is_shown_no_password_and_gets_no_turn(served: Served) -> None:
    agent = await served.machine(shown="laptop.example")
    await served.stage.start()
    nas = (await served.stage.peers())["nas"]
    assert nas["state"] == "down"
    assert "its certificate is not accepted: Hostname mismatch" in nas["detail"]
    refused = await served.stage.ask("nas", "are you there?")
    assert (refused.status_code, refused.headers["x-switchboard-started"]) == (503, "no")
    assert agent.turns == []
    assert served.stage.proxies["nas"].log.lines == []


async def test_the_doctor_walks_through_serve(served: Served) -> None:
    await served.machine()
    assert (await served.walk()).failed is None


async def test_the_doctor_says_what_mends_a_wrong_certificate(served: Served) -> None:
    await served.machine(shown="laptop.example")
    failed = (await served.walk()).failed
    assert failed is not None
    assert (failed.hop, failed.code) == ("proxy", "tls_failed")
    assert "on nas see `tailscale serve status`" in str(failed.detail)
