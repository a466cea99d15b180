"""Every failure that the doctor knows, caused for real; those of the network are in `test_doctor_command`."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from coordinator.stage import PASSWORD, Stage, plain_client, private, refusal, streaming
from doubles.away import away
from doubles.local_api import local_api, node
from doubles.upstream import Script, Upstream, Visit
from free_ports import port
from switchboard_coordinator.doctor import door, remedies, route, turn
from switchboard_coordinator.doctor.findings import Walk, told
from switchboard_coordinator.doctor.walk import Ground, walk_to
from switchboard_coordinator.peers.peers_file import PeersFile

WRONG = "a-wrong-password-0123456789"
TO_THE_DOOR = ["name", "address", "tailnet", "port", "proxy"]
TO_THE_AGENT = [*TO_THE_DOOR, "credential", "agent"]
SPEECH = b'data: {"choices":[{"index":0,"delta":{"content":"po"},"finish_reason":null}]}\n\n'
CUT = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
LOCKED = b'{"error":{"message":"HTTP Basic","code":"invalid_credentials"}}'
OURS = b"x-switchboard-started: no"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def walked(stage: Stage, *names: str, turn_seconds: float | None = 10.0, trusted: bool = False) -> list[Walk]:
    """The walks to these peers, or to all, from where the stage's coordinator would stand."""
    peers = PeersFile.model_validate({"peers": stage.peers_named}).peers
    ground = Ground(peers, stage.peers_file, stage.secrets, trusted, turn_seconds)
    return await walk_to(names or [*peers], ground)


async def failing(stage: Stage, code: str, hops: list[str], *, turn_seconds: float = 10.0) -> str:
    """What the walk to `nas` says, which ends with this failure behind these hops."""
    (walk,) = await walked(stage, "nas", turn_seconds=turn_seconds)
    failed = walk.failed
    assert failed is not None, walk.steps
    assert [step.hop for step in walk.steps] == hops, failed.detail
    assert failed is walk.steps[-1]
    assert failed.code == code, failed.detail
    assert failed.detail is not None
    assert PASSWORD not in failed.detail
    return failed.detail


async def odd(stage: Stage, stack: AsyncExitStack, script: Script) -> None:
    """A peer `nas` that says what the script says."""
    upstream = await stack.enter_async_context(Upstream(script))
    stage.peer("nas", upstream.port)


def by_path(**answers: bytes) -> Script:
    """A script that answers a request by a word of its path."""

    async def script(visit: Visit) -> None:
        while True:
            path = (await visit.request()).split(b" ")[1].decode()
            await visit.send(next(answer for word, answer in answers.items() if word in path))

    return script


async def odd_agent(stage: Stage, stack: AsyncExitStack, completions: bytes) -> None:
    """A peer `nas` with a proxy of ours, whose agent answers every turn with the same bytes."""
    models = refusal(200, b'{"data":[{"id":"hermes-agent"}]}')
    health = refusal(200, b'{"status":"ok","version":"0.19.0"}')
    agent = await stack.enter_async_context(Upstream(by_path(models=models, health=health, completions=completions)))
    stage.peer("nas", await stage.proxy("nas", agent.port))


async def test_every_hop_to_every_profile_of_every_peer_is_walked(stage: Stage) -> None:
    await stage.machine("nas", profiles=("default", "work"))
    await stage.machine("laptop")
    walks = await walked(stage)
    assert [walk.is_ok for walk in walks] == [True, True]
    found = told(walks)
    assert (found["ok"], [peer["peer"] for peer in found["peers"]]) == (True, ["nas", "laptop"])
    nas = found["peers"][0]
    assert (nas["ok"], nas["failed"]) == (True, None)
    hops = [(hop["hop"], hop.get("profile")) for hop in nas["hops"]]
    assert hops == [
        *((hop, None) for hop in [*TO_THE_DOOR, "credential"]),
        *((hop, profile) for profile in ("default", "work") for hop in ("agent", "profile", "turn")),
    ]
    assert all(hop["ok"] and hop["ms"] >= 0 for hop in nas["hops"])
    assert nas["hops"][-1]["detail"] == f"[nas/work] echo: {turn.PROMPT}"
    versions = [{"profile": profile, "agent_version": "0.19.0"} for profile in ("default", "work")]
    assert nas["profiles"] == versions
    json.dumps(found)


async def test_each_profile_is_asked_for_one_turn_as_a_stream_and_for_none_where_none_is_wanted(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"))
    await walked(stage)
    assert sorted((asked.profile, asked.text, asked.stream) for asked in agent.turns) == [
        ("default", turn.PROMPT, True),
        ("work", turn.PROMPT, True),
    ]
    (walk,) = await walked(stage, turn_seconds=None)
    assert (walk.is_ok, len(agent.turns)) == (True, 2)
    assert "turn" not in {step.hop for step in walk.steps}


async def test_a_peer_that_fails_takes_nothing_from_another(stage: Stage) -> None:
    stage.peer("tower", port("127.0.0.1"))
    await stage.machine("nas")
    tower, nas = await walked(stage)
    assert (tower.is_ok, nas.is_ok) == (False, True)
    found = told([tower, nas])
    assert found["ok"] is False
    failed = found["peers"][0]["failed"]
    assert (failed["hop"], failed["code"]) == ("port", "port_refused")
    assert found["peers"][0]["profiles"] == [{"profile": "default", "agent_version": None}]


async def test_a_peer_that_is_in_no_peers_file_is_told_with_what_is_near(stage: Stage) -> None:
    await stage.machine("nas")
    (walk,) = await walked(stage, "nass")
    assert walk.failed is not None
    assert walk.failed.code == "unknown_peer"
    assert walk.failed.detail == (
        f"{stage.peers_file} names no peer `nass`, did you mean `nas`? Add it there, or ask for one that it names"
    )


async def test_a_host_that_does_not_resolve_is_told(stage: Stage) -> None:
    stage.peer("nas", 9121, host="nas.switchboard.invalid")
    words = await failing(stage, "unresolved", ["name", "address"])
    assert words.startswith("nas.switchboard.invalid does not resolve on this machine (")
    assert f"in {stage.peers_file} set `peers.nas.host`" in words


async def test_an_address_outside_the_tailnet_is_told_unless_any_is_trusted(stage: Stage) -> None:
    stage.peer("nas", 9121, host="0.0.0.0")
    words = await failing(stage, "outside_tailnet", ["name", "address", "tailnet"])
    assert words.startswith("0.0.0.0 is 0.0.0.0, which others than the tailnet can reach; in ")
    (walk,) = await walked(stage, trusted=True)
    assert walk.failed is not None
    assert walk.failed.hop == "port"


async def test_a_refused_connect_and_one_without_an_answer_are_told_apart(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_the_port = ["name", "address", "tailnet", "port"]
    stage.peer("nas", port("127.0.0.1"))
    words = await failing(stage, "port_refused", to_the_port)
    assert words.startswith("the machine is there, and nothing listens at its port ")
    monkeypatch.setattr(route, "CONNECT_SECONDS", 0.3)
    with away() as silent:
        stage.peer("nas", silent)
        words = await failing(stage, "port_silent", to_the_port)
    assert words.startswith(f"nobody answers at port {silent} within 0.3 s; is nas awake")


@pytest.mark.parametrize("answer", [refusal(200, b"<html>"), refusal(401, b"<html>"), b"SSH-2.0-OpenSSH_10.0\r\n\r\n"])
async def test_what_is_no_proxy_of_ours_is_told_and_is_not_shown_the_password(
    stage: Stage, stack: AsyncExitStack, answer: bytes
) -> None:
    asked: list[bytes] = []

    async def script(visit: Visit) -> None:
        while True:
            asked.append(await visit.request())
            await visit.send(answer)

    await odd(stage, stack, script)
    words = await failing(stage, "not_a_proxy", TO_THE_DOOR)
    assert words.startswith("what answers at 127.0.0.1:")
    assert len(asked) == 1
    assert b"authorization" not in asked[0].lower()


async def test_a_proxy_that_says_nothing_is_told(
    stage: Stage, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs_up(visit: Visit) -> None:
        await visit.request()
        visit.abort()

    await odd(stage, stack, hangs_up)
    assert "does not answer: " in await failing(stage, "proxy_silent", TO_THE_DOOR)

    async def waits(visit: Visit) -> None:
        await visit.request()

    await odd(stage, stack, waits)
    monkeypatch.setattr(door, "LOOK_SECONDS", 0.2)
    assert "it is silent for 0.2 s; on nas read the log" in await failing(stage, "proxy_silent", TO_THE_DOOR)


@pytest.mark.parametrize(
    ("code", "proxys"), [("proxy_ending", b"draining"), ("proxy_untold", b"a_code_of_a_later_version")]
)
async def test_a_proxy_of_ours_that_lets_nobody_in_is_told(
    stage: Stage, stack: AsyncExitStack, code: str, proxys: bytes
) -> None:
    body = b'{"error":{"message":"it is so","code":"' + proxys + b'"}}'
    await odd(stage, stack, by_path(ready=refusal(503, body, OURS)))
    assert (await failing(stage, code, TO_THE_DOOR)).startswith("its proxy does not tell: it is so; ")


async def test_a_proxy_of_ours_that_cannot_tell_of_its_profiles_is_told(stage: Stage, stack: AsyncExitStack) -> None:
    fault = refusal(500, b'{"error":{"message":"a fault","code":"internal_error"}}', OURS)
    await odd(stage, stack, by_path(ready=refusal(401, LOCKED, OURS), profiles=fault))
    assert (await failing(stage, "proxy_untold", TO_THE_DOOR)).startswith("its proxy does not tell: a fault; ")


async def test_a_proxy_that_goes_by_another_name_is_told(stage: Stage) -> None:
    await stage.machine("nas", host="localhost")
    words = await failing(stage, "other_name", TO_THE_DOOR)
    assert words.endswith("SWITCHBOARD_PROXY_NAMES adds names; on nas add localhost there, in the `.env` of its proxy, "
                          "and start it again")  # fmt: skip


async def test_a_proxy_that_asks_tailscaled_in_vain_is_told(stage: Stage, tmp_path: Path) -> None:
    asks: dict[str, Any] = {"tailscale_socket": tmp_path / "tailscaled.sock", "allowed_callers": ("hub",)}
    stage.peer("nas", await stage.proxy("nas", port("127.0.0.1"), **asks))
    words = await failing(stage, "caller_unknown", TO_THE_DOOR)
    assert words.startswith("its proxy does not tell: tailscaled cannot be asked who calls")
    async with local_api(tmp_path / "tailscaled.sock") as api:
        api.answers["127.0.0.1"] = node("laptop")
        words = await failing(stage, "caller_refused", [*TO_THE_DOOR, "credential"])
    assert "SWITCHBOARD_PROXY_ALLOWED_CALLERS names whose; on nas add this machine's name or tag there" in words


async def test_a_password_file_that_is_unfit_is_told_of_its_peer_alone(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.machine("laptop")
    (stage.secrets / "nas_password").chmod(0o644)
    words = await failing(stage, "password_unfit", [*TO_THE_DOOR, "credential"])
    assert f"chmod 0400 {stage.secrets}/nas_password" in words
    nas, laptop = await walked(stage)
    assert (nas.is_ok, laptop.is_ok) == (False, True)


async def test_a_wrong_password_is_told_and_so_is_a_lockout(stage: Stage) -> None:
    await stage.machine("nas", password=WRONG)
    words = await failing(stage, "password_wrong", [*TO_THE_DOOR, "credential"])
    assert f"{stage.secrets}/nas_password here and `proxy_password`" in words
    assert WRONG not in words
    async with plain_client(base_url=f"http://127.0.0.1:{stage.peers_named['nas']['port']}") as stranger:
        for _ in range(10):
            await stranger.get("/-/ready", auth=("coordinator", WRONG))
    words = await failing(stage, "locked_out", [*TO_THE_DOOR, "credential"])
    assert "lets a right one pass at once" in words
    private(stage.secrets / "nas_password", PASSWORD)
    (walk,) = await walked(stage)
    assert walk.is_ok


async def test_an_agent_that_is_not_there_and_one_that_refuses_its_key_are_told_apart(stage: Stage) -> None:
    stage.peer("nas", await stage.proxy("nas", port("127.0.0.1")))
    words = await failing(stage, "agent_unreachable", TO_THE_AGENT)
    assert "is its API_SERVER_KEY set? On nas start the gateway of profile default" in words
    await stage.machine("laptop", proxy_key="a-key-of-nobody-0123456789abcdef")
    stage.peer("nas", stage.peers_named["laptop"]["port"])
    words = await failing(stage, "agent_refuses_key", TO_THE_AGENT)
    assert "write the API_SERVER_KEY of profile default into the key file" in words
    assert "a-key-of" not in words


async def test_a_profile_that_the_proxy_does_not_know_is_told_and_the_others_are_walked_to(stage: Stage) -> None:
    await stage.machine("nas")
    stage.peer("nas", stage.peers_named["nas"]["port"], profiles={"work": {}, "default": {}})
    (walk,) = await walked(stage)
    assert walk.failed is not None
    assert (walk.failed.hop, walk.failed.profile, walk.failed.code) == ("profile", "work", "profile_unknown")
    assert "on nas add work there, or take it out of " in str(walk.failed.detail)
    assert (walk.steps[-1].hop, walk.steps[-1].profile, walk.steps[-1].is_ok) == ("turn", "default", True)
    assert "agent" not in {step.hop for step in walk.steps if step.profile == "work"}


async def test_an_agent_that_would_run_a_profile_as_another_is_told_and_not_asked(stage: Stage) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"), multiplex=False)
    (walk,) = await walked(stage)
    assert walk.failed is not None
    assert (walk.failed.hop, walk.failed.profile, walk.failed.code) == ("profile", "work", "profile_not_served")
    assert "are those of its own gateway" in str(walk.failed.detail)
    assert len(agent.turns) == 1


async def test_an_agent_that_is_not_ready_is_told_and_asked_all_the_same(stage: Stage) -> None:
    agent = await stage.machine("nas")
    agent.gateway.is_degraded = True
    (walk,) = await walked(stage)
    assert walk.is_ok
    (step,) = [step for step in walk.steps if step.hop == "agent"]
    assert str(step.detail).startswith("the agent says that it is not ready")


ENDINGS: dict[str, tuple[str, str]] = {
    "turn_failed": ("!!fail=401 x", "default@nas failed: HTTP 401"),
    "turn_broken": ("!!die hello there, you", "default@nas broke off its answer"),
    "turn_late": ("!!silence=60 x", "the turn did not end within 0.5 s"),
}


@pytest.mark.parametrize("code", ENDINGS)
async def test_a_turn_that_does_not_end_well_is_told(stage: Stage, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    prompt, words = ENDINGS[code]
    agent = await stage.machine("nas")
    monkeypatch.setattr(turn, "PROMPT", prompt)
    seconds = 0.5 if code == "turn_late" else 10.0
    hops = [*TO_THE_AGENT, "profile", "turn"]
    assert (await failing(stage, code, hops, turn_seconds=seconds)).startswith(words)
    assert len(agent.turns) == 1, "it is asked once, whatever comes"


async def test_an_agent_that_takes_no_turns_is_told(stage: Stage) -> None:
    agent = await stage.machine("nas")
    agent.gateway.is_draining = True
    words = await failing(stage, "turn_refused", [*TO_THE_AGENT, "profile", "turn"])
    assert words == (
        "default@nas takes no turns now: Gateway is draining existing work; retry shortly.; "
        "ask again when what it has to do is done"
    )


@pytest.mark.parametrize(
    ("code", "completions"),
    [
        ("turn_wordless", streaming(STOP, DONE)),
        ("turn_wordless", streaming(DONE)),
        ("turn_cut", streaming(SPEECH, CUT, DONE)),
        ("turn_broken", streaming(SPEECH)),
        ("turn_odd", refusal(200, b"{}", b"content-type: application/json")),
        ("turn_odd", refusal(400, b'{"error":{"message":"no"}}')),
    ],
)
async def test_an_answer_that_is_none_is_told(
    stage: Stage, stack: AsyncExitStack, code: str, completions: bytes
) -> None:
    await odd_agent(stage, stack, completions)
    await failing(stage, code, [*TO_THE_AGENT, "profile", "turn"])


@pytest.mark.parametrize("code", remedies.REMEDIES)
def test_every_failure_has_its_sentence_and_a_test_that_causes_it(code: str) -> None:
    places = remedies.Places("nas", Path("/etc/peers.yaml"), "nas.example.net", 9121, Path("/run/nas_password"))
    words = remedies.sentence(code, "it is so", places, "work")
    assert words.startswith("it is so; ")
    assert not {"{", "}"} & set(words)
    assert not words.endswith(".")
    names = ("test_doctor.py", "test_doctor_command.py", "test_behind_serve.py")
    tests = (Path(__file__).with_name(name).read_text() for name in names)
    assert any(f'"{code}"' in text for text in tests)
