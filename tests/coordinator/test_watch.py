"""How every peer is found, and found again."""

import asyncio
import base64
import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from coordinator.stage import PASSWORD, OddPeer, Stage, private, refusal
from doubles.away import away
from doubles.serving import listening
from switchboard_coordinator.peers import watch
from switchboard_coordinator.peers.breaker import OPEN_SECONDS, Breaker
from switchboard_coordinator.peers.credential import Credential
from switchboard_coordinator.peers.health import no_network
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.peers.peers_file import PeerEntry, PeersFile
from switchboard_coordinator.peers.roster import PeerStatus, Roster
from switchboard_relay import AnswerMissing, ConnectFailed, Pool
from switchboard_service.secret_file import SecretFile
from waiting import until

SOON = 0.05
AUTHORIZATION = re.compile(rb"(?i)authorization: ([^\r]+)")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once, so that a test need not wait."""
    monkeypatch.setattr(watch, "UP_SECONDS", SOON)
    monkeypatch.setattr(watch, "DOWN_SECONDS", SOON)
    monkeypatch.setattr(watch, "AWAY_SECONDS", SOON)


def test_looks_at_machines_that_are_away_are_so_close_that_one_which_returns_is_found_within_five_seconds() -> None:
    longest_pause = watch.AWAY_SECONDS * (1 + watch.JITTER)
    questions_of_the_proxy = 3.0  # its QUESTION_SECONDS, at worst
    # It may return just behind the second SYN of a connect, which then waits for its end and counts for nothing.
    assert watch.AWAY_CONNECT_SECONDS - 1.0 + longest_pause + questions_of_the_proxy < 5.0
    assert (watch.UP_SECONDS, watch.DOWN_SECONDS) == (5.0, 2.0)
    assert OPEN_SECONDS > watch.LOOK_SECONDS + watch.DOWN_SECONDS * (1 + watch.JITTER), "a turn would go and see"


async def test_the_roster_tells_state_since_round_trip_version_and_capabilities(stage: Stage) -> None:
    await stage.machine("nas", capabilities=["home", "code"], max_turns=3)
    stage.peer("tower", 9)
    began = datetime.now(UTC)
    await stage.start()
    found = await stage.peers()
    nas, tower = found["nas"], found["tower"]
    assert began <= datetime.fromisoformat(nas.pop("since")) <= datetime.now(UTC)
    assert 0 < nas.pop("round_trip_ms") < 5000
    assert nas.pop("port") > 0
    (profile,) = nas.pop("profiles")
    nas.pop("levels")
    assert profile.pop("since")
    profile.pop("levels")
    assert nas == {
        "name": "nas",
        "host": "127.0.0.1",
        "tls": False,
        "state": "up",
        "detail": None,
        "credential": "current",
        "draining_since": None,
        "max_turns": 3,
        "turns": {"limit": 3, "running": 0, "waiting": 0},
    }
    assert profile == {
        "name": "default",
        "address": "default@nas",
        "state": "up",
        "detail": None,
        "agent_version": "0.19.0",
        "capabilities": ["home", "code"],
    }
    assert (tower["state"], tower["round_trip_ms"]) == ("down", None)
    assert "does not answer" in tower["detail"]
    assert tower["profiles"][0]["state"] == "down"
    assert (await stage.client.get("/api/peers/tower")).json() == tower


def free_port() -> int:
    with listening() as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.usefixtures("soon")
async def test_a_peer_that_comes_and_goes_is_seen_to(stage: Stage) -> None:
    port = free_port()
    stage.peer("nas", port)
    await stage.start()
    assert await stage.state("nas") == "down"
    down_since = (await stage.peers())["nas"]["since"]

    async def is_state(state: str) -> bool:
        return await stage.state("nas") == state

    async with OddPeer().listening(port):
        await until(lambda: is_state("up"), seconds=5)
        assert (await stage.peers())["nas"]["since"] > down_since
    await until(lambda: is_state("down"), seconds=5)
    assert (await stage.peers())["nas"]["profiles"][0]["agent_version"] == "0.19.0", "the last one known"


@pytest.mark.usefixtures("soon")
async def test_a_state_that_lasts_keeps_its_since(stage: Stage) -> None:
    odd = await stage.odd("nas")
    await stage.start()
    since = (await stage.peers())["nas"]["since"]
    looks = odd.looks
    await until(lambda: odd.looks >= looks + 3, seconds=5)
    assert (await stage.peers())["nas"]["since"] == since


@pytest.mark.usefixtures("soon")
async def test_a_peer_that_says_nothing_delays_no_other(stage: Stage) -> None:
    mute, odd = await stage.odd("mute"), await stage.odd("nas")
    mute.is_absent = True
    await stage.start(watched=False)
    await until(lambda: odd.looks >= 5, seconds=5)
    assert (await stage.peers())["mute"]["since"] is None


async def test_a_peer_that_says_nothing_is_down_after_a_while(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    (await stage.odd("mute")).is_absent = True
    await stage.start()
    assert (await stage.peers())["mute"]["detail"] == "its proxy does not answer: it is silent"


@pytest.mark.usefixtures("soon")
async def test_a_refused_password_is_not_shown_again_until_its_file_changes(stage: Stage) -> None:
    guarded = Guarded()
    async with guarded.listening(free_port()):
        stage.peer("nas", guarded.port, password="a-wrong-password-0123456789")
        await stage.start()
        assert await stage.state("nas") == "unauthorized"
        await until(lambda: len(guarded.shown) >= 4, seconds=5)
        assert guarded.shown[0] is not None
        assert set(guarded.shown[1:]) == {None}, "a wrong password was shown again"
        refused = await stage.ask("nas", "hi")
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "peer_unauthorized")
        private(stage.secrets / "nas_password", "short")
        seen = len(guarded.shown)
        await until(lambda: len(guarded.shown) >= seen + 2, seconds=5)
        assert guarded.shown[-1] is None, "what is no password is not shown"
        private(stage.secrets / "nas_password", PASSWORD)

        async def is_up() -> bool:
            return await stage.state("nas") == "up"

        await until(is_up, seconds=5)
        (stage.secrets / "nas_password").unlink()
        await until(is_up, seconds=5)


async def test_a_turn_that_meets_a_wrong_password_is_enough_to_hold_it_back(stage: Stage) -> None:
    guarded = Guarded(is_open=True)
    async with guarded.listening(free_port()):
        stage.peer("nas", guarded.port)
        await stage.start()
        guarded.is_open, guarded.password = False, "changed"
        assert (await stage.ask("nas", "hi")).status_code == 502
        shown = len(guarded.shown)
        assert (await stage.ask("nas", "hi")).json()["error"]["code"] == "peer_unauthorized"
        assert len(guarded.shown) == shown, "a turn went out with a password that is known to be wrong"


class Guarded(OddPeer):
    """A peer that asks for its password; remembers what was shown to it."""

    def __init__(self, *, is_open: bool = False) -> None:
        super().__init__()
        self.is_open = is_open
        self.password = PASSWORD
        self.shown: list[bytes | None] = []

    def refuses(self, head: bytes) -> bool:
        found = AUTHORIZATION.search(head)
        value = found[1] if found else None
        self.shown.append(value)
        return not self.is_open and value != basic(self.password)


def basic(password: str) -> bytes:
    return b"Basic " + base64.b64encode(f"coordinator:{password}".encode())


ODD: dict[str, tuple[bytes, str, str]] = {
    "no proxy": (b"<html>", "down", "what answers there is no proxy of ours (status 200)"),
    "another profile": (b'{"profiles":[]}', "down", "default: its proxy does not know this profile"),
    "a state that is new": (b'{"profiles":[{"name":"default","state":"x","detail":"y"}]}', "down", "default: y"),
    "unreachable": (b'{"profiles":[{"name":"default","state":"unreachable","detail":"y"}]}', "down", "default: y"),
    "degraded": (b'{"profiles":[{"name":"default","state":"degraded","detail":"y"}]}', "degraded", "default: y"),
}


@pytest.mark.parametrize(("report", "state", "detail"), ODD.values(), ids=ODD.keys())
async def test_whatever_a_peer_tells_is_understood(stage: Stage, report: bytes, state: str, detail: str) -> None:
    odd = await stage.odd("nas")
    odd.report = report
    await stage.start()
    found = (await stage.peers())["nas"]
    assert found["state"] == state
    assert detail in found["detail"]


@pytest.mark.usefixtures("soon")
async def test_a_look_that_stumbles_is_not_the_last_one(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    look, times = watch.Watch.look, 0

    async def stumbling(self: watch.Watch, peer: Any) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise ZeroDivisionError
        await look(self, peer)

    monkeypatch.setattr(watch.Watch, "look", stumbling)
    await stage.odd("nas")
    await stage.start()
    assert await stage.state("nas") == "up"


def test_a_refusal_of_a_password_that_has_been_replaced_meanwhile_holds_the_new_one_not_back(tmp_path: Path) -> None:
    file = tmp_path / "password"
    private(file, "an-old-password-0123456789")
    credential = Credential("coordinator", SecretFile(file))
    old = credential.header()
    credential.refuse(old)
    assert credential.header() is None
    file.unlink()
    private(file, "a-new-password-0123456789ab")
    new = credential.header()
    assert new not in (None, old)
    credential.refuse(old)  # an answer that was under way all the time
    assert credential.header() == new
    credential.refuse(new)
    assert credential.header() is None


async def test_a_proxy_of_another_name_is_told_as_such(stage: Stage) -> None:
    class Elsewhere(OddPeer):
        async def _answered(self, head: bytes, reader: object) -> bytes:  # noqa: ARG002 - every request is refused
            return refusal(421, b"{}", b"Connection: close")

    odd = await stage.join(Elsewhere())
    stage.peer("nas", odd.port)
    await stage.start()
    nas = (await stage.peers())["nas"]
    assert (nas["state"], "SWITCHBOARD_PROXY_NAMES" in nas["detail"]) == ("down", True)


async def levels_of(stage: Stage, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The states of a peer's levels, and of those of its first profile."""
    found = (await stage.peers())[name]
    mine, its = found["levels"], found["profiles"][0]["levels"]
    return {level: told["state"] for level, told in mine.items()}, {level: told["state"] for level, told in its.items()}


def names(*states: str) -> dict[str, str]:
    return dict(zip(("network", "proxy", "credential", "agent", "turn"), states, strict=False))


async def test_each_level_is_told_apart(stage: Stage) -> None:
    stage.peer("off", free_port())
    (await stage.odd("page")).report = b"<html>"
    guarded = await stage.join(Guarded())
    stage.peer("guarded", guarded.port, password="a-wrong-password-0123456789")
    await stage.machine("wrong-key", proxy_key="a-key-of-nobody-0123456789abcdef")
    stage.peer("no-agent", await stage.proxy("no-agent", free_port()))
    busy = b'{"profiles":[{"name":"default","state":"degraded","detail":"draining"}]}'
    (await stage.odd("draining")).report = busy
    await stage.machine("fine")
    await stage.start()
    unknown, failed = "unknown", "failed"
    for name, states in {
        "off": (failed, unknown, unknown, unknown),
        "page": ("ok", failed, unknown, unknown),
        "guarded": ("ok", "ok", failed, unknown),
        "wrong-key": ("ok", "ok", failed, unknown),
        "no-agent": ("ok", "ok", unknown, failed),
        "draining": ("ok", "ok", "ok", "degraded"),
        "fine": ("ok", "ok", "ok", "ok"),
    }.items():
        peer, profile = await levels_of(stage, name)
        assert profile == names(*states, unknown), name
        is_let_in = name in ("wrong-key", "no-agent")
        assert peer == names(*("ok", "ok", "ok") if is_let_in else states[:3]), name
    found = (await stage.peers())["wrong-key"]["profiles"][0]["levels"]["credential"]
    assert "API_SERVER_KEY" in found["detail"], "whose secret it is"


class Lookout:
    """One peer on loopback, and a watch that keeps it; without a coordinator around them."""

    def __init__(self, folder: Path, port: int) -> None:
        entry = PeerEntry.model_validate({"host": "127.0.0.1", "port": port, "password_file": "password"})
        self.breaker = Breaker()
        credential = Credential("coordinator", SecretFile(private(folder / "password", PASSWORD)))
        self.peer = Peer("nas", entry, Pool("127.0.0.1", port), credential, self.breaker)
        self.roster = Roster(PeersFile.model_validate({"peers": {"nas": entry}}))
        self._watch = watch.Watch(self.roster)

    async def __aenter__(self) -> "Lookout":
        self._keeping = asyncio.create_task(self._watch.keep(self.peer))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._keeping.cancel()
        await asyncio.gather(self._keeping, return_exceptions=True)

    async def look(self) -> None:
        await self._watch.look(self.peer)

    @property
    def status(self) -> PeerStatus:
        return self.roster.now.peers["nas"]

    @property
    def is_refused(self) -> bool:
        """Whether a turn would be."""
        return self.breaker.refuses(asyncio.get_running_loop().time())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at a machine that is away does not take its five seconds."""
    monkeypatch.setattr(watch, "CONNECT_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
async def test_a_machine_that_answered_no_connect_and_comes_back_is_used_within_five_seconds(tmp_path: Path) -> None:
    with ExitStack() as gone:
        port = gone.enter_context(away())
        async with Lookout(tmp_path, port) as lookout:
            await until(lambda: lookout.is_refused, seconds=20)
            assert lookout.status.levels.network.state == "failed"
            assert "awake" in str(lookout.status.detail)
            gone.close()
            async with OddPeer().listening(port):
                await until(lambda: not lookout.is_refused, seconds=5)
                assert lookout.breaker.state == "closed"
                await until(lambda: lookout.status.state == "up", seconds=5)


async def test_a_turn_that_found_no_connect_makes_the_watch_look_at_once(tmp_path: Path) -> None:
    async with OddPeer().listening() as odd, Lookout(tmp_path, odd.port) as lookout:
        await until(lambda: lookout.status.state == "up", seconds=5)
        lookout.breaker.failed(asyncio.get_running_loop().time())
        assert lookout.is_refused
        await until(lambda: not lookout.is_refused, seconds=watch.UP_SECONDS * (1 - watch.JITTER) / 2)
        assert odd.looks == 2


async def test_a_look_that_found_no_connect_itself_is_not_followed_by_another_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    async def refused(*_: object) -> tuple[int, bytes]:
        looks.append(time.monotonic())
        raise ConnectFailed("refused")

    monkeypatch.setattr(watch, "_ask", refused)
    async with Lookout(tmp_path, 9):
        await until(lambda: len(looks) >= 2, seconds=20)
    assert looks[1] - looks[0] >= watch.AWAY_SECONDS * (1 - watch.JITTER)


async def test_of_what_goes_wrong_only_a_failed_connect_and_a_proxy_that_stands_still_count_against_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Exception | tuple[int, bytes]] = []

    async def answering(*_: object) -> tuple[int, bytes]:
        outcome = outcomes.pop()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(watch, "_ask", answering)
    lookout = Lookout(tmp_path, 9)
    for outcome, state in (
        (ConnectFailed("refused"), "open"),
        ((503, b"no"), "closed"),
        (TimeoutError(), "open"),
        (AnswerMissing("it closed"), "closed"),
    ):
        outcomes.append(outcome)
        await lookout.look()
        assert lookout.breaker.state == state, outcome
        assert lookout.status.state == "down"


async def test_a_look_is_a_connect_of_its_own(tmp_path: Path) -> None:
    heads: list[bytes] = []

    class Talkative(OddPeer):
        def refuses(self, head: bytes) -> bool:
            heads.append(head.lower())
            return False

    async with Talkative().listening() as odd:
        lookout = Lookout(tmp_path, odd.port)
        await lookout.look()
        assert lookout.status.state == "up"
    assert b"connection: close" in heads[0], "a connection that is kept tells nothing of the network"


async def test_of_an_answer_that_is_far_too_long_the_rest_is_left(tmp_path: Path) -> None:
    async with OddPeer().listening() as odd:
        odd.report = b" " * (2 * watch.REPORT_LIMIT_BYTES) + odd.report
        lookout = Lookout(tmp_path, odd.port)
        await lookout.look()
    assert "no proxy of ours" in str(lookout.status.detail)


async def test_a_look_at_a_machine_that_is_away_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "AWAY_CONNECT_SECONDS", 0.1)
    with away() as port:
        lookout = Lookout(tmp_path, port)
        lookout.roster.note("nas", no_network("away"), {}, None)
        began = time.monotonic()
        await lookout.look()
        assert time.monotonic() - began < 1


@pytest.mark.usefixtures("impatient")
async def test_a_turn_to_a_machine_that_is_away_fails_at_once(stage: Stage) -> None:
    with away() as port:
        stage.peer("nas", port)
        await stage.start()
        began = time.monotonic()
        refused = await stage.ask("nas", "hi")
        took = time.monotonic() - began
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "peer_unavailable")
    assert refused.headers["x-switchboard-started"] == "no"
    assert took < 0.5, "promised are 50 ms; a connect would have taken 5 s"
