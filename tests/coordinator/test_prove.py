"""`switchboard prove`: one real turn to every address and one to all, as a transcript."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from coordinator.stage import Stage, refusal
from doubles.upstream import Upstream, saying
from free_ports import port
from switchboard_coordinator.command import proof

PROGRAM = Path(sys.executable).parent / "switchboard"
TIME = re.compile(r"\d+\.\d\d s")


class Proof:
    """What one command said."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def turns(self) -> dict[str, dict[str, Any]]:
        """By target, of what was told as JSON."""
        return {told["target"]: told for told in json.loads(self.out)["turns"]}


async def prove(url: str, key: str, *words: str) -> Proof:
    """Run the command, with the key on its standard input."""
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), "prove", "--url", url, "--key-file", "-", *words),
        env={},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(f"{key}\n".encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Proof(process.returncode or 0, out.decode(), err.decode())


async def test_every_address_is_asked_once_and_then_all_together(stage: Stage) -> None:
    nas = await stage.machine("nas", profiles=("default", "work"))
    laptop = await stage.machine("laptop")
    await stage.start()
    shown = await prove(stage.url, stage.key)
    assert (shown.status, shown.err) == (0, "")
    said = "echo: Reply with the single word pong."
    expected = []
    for address, name in (("default@nas", "nas"), ("work@nas", "nas/work"), ("default@laptop", "laptop")):
        expected += [
            f"POST {stage.url}/api/remote-agent/invoke",
            json.dumps({"target": address, "message": proof.MESSAGE}),
            f"# 200 in … s: [{name}] {said}",
            "",
        ]
    lines = TIME.sub("… s", shown.out).splitlines()
    assert lines[: len(expected)] == expected
    assert lines[len(expected)] == f"POST {stage.url}/v1/chat/completions"
    assert lines[len(expected) + 2 :] == [
        "# 200 in … s",
        f"#   default@nas: [nas] {said}",
        f"#   work@nas: [nas/work] {said}",
        f"#   default@laptop: [laptop] {said}",
        "",
    ]
    assert [len(agent.turns) for agent in (nas, laptop)] == [4, 2]
    assert stage.key not in shown.out


async def test_a_proof_as_json_says_what_everybody_answered_and_how_long_it_took(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    told = await prove(stage.url, stage.key, "--json")
    assert (told.status, json.loads(told.out)["ok"]) == (0, True)
    assert [*told.turns] == ["default@nas", "all@fleet"]
    for turn in told.turns.values():
        assert 0 < turn.pop("seconds") < 60
        assert turn.pop("target")
        replies = {"default@nas": "[nas] echo: Reply with the single word pong."}
        assert turn == {"ok": True, "status": 200, "replies": replies, "failures": {}}


async def test_an_address_that_is_offline_fails_with_its_reason_and_the_others_answer(stage: Stage) -> None:
    nas = await stage.machine("nas")
    stage.peer("tower", port("127.0.0.1"))
    await stage.start()
    shown = await prove(stage.url, stage.key)
    assert shown.status == 1
    assert len(nas.turns) == 2
    assert "# 503 in " in shown.out
    alone, together = shown.err.splitlines()
    assert alone.startswith("switchboard: default@tower: tower takes no connection at 127.0.0.1:")
    assert together.startswith("switchboard: all@fleet: default@tower: tower takes no connection at 127.0.0.1:")
    told = (await prove(stage.url, stage.key, "--json")).turns
    assert (told["default@tower"]["ok"], told["default@tower"]["status"]) == (False, 503)
    assert (told["all@fleet"]["ok"], [*told["all@fleet"]["replies"]]) == (False, ["default@nas"])


async def test_a_turn_that_does_not_end_is_left_and_named(stage: Stage) -> None:
    await stage.odd("nas", is_mute=True)
    await stage.start()
    shown = await prove(stage.url, stage.key, "--json", "--turn-seconds", "1")
    assert shown.status == 1
    assert shown.turns["default@nas"]["failures"] == {"default@nas": "no answer came within 1 s, and the turn was left"}


async def test_a_key_that_nobody_has_and_a_coordinator_that_is_not_there_are_told(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    shown = await prove(stage.url, "sk-switchboard-a-wrong-one")
    assert (shown.status, shown.out) == (1, "")
    assert shown.err.startswith("switchboard: no consumer has this key")
    async with Upstream(saying(refusal(200, b"<html>"))) as other:
        shown = await prove(f"http://127.0.0.1:{other.port}", stage.key)
    assert (shown.status, shown.err) == (1, "switchboard: what answers there is no coordinator (status 200)\n")
    for nothing in ("", "kéy"):
        shown = await prove(stage.url, nothing)
        assert (shown.status, shown.out) == (2, "")
        assert shown.err.startswith("switchboard: no key on standard input: ")


def test_a_peer_that_is_drained_is_not_asked_for_its_turn_would_wait() -> None:
    peer = {"name": "nas", "state": "draining", "profiles": [{"address": "default@nas"}]}
    alone, everybody = proof.requests({"peers": [peer]})
    assert alone.obstacle == "nas is drained: `switchboard undrain nas`"
    assert everybody.obstacle is None


@pytest.mark.parametrize(
    ("value", "replies", "failures"),
    [
        ({"reply": "  pong\n"}, {"x": "  pong\n"}, {}),
        ({"reply": " "}, {}, {"x": proof.WORDLESS}),
        (
            {
                "choices": [
                    {"index": 0, "message": {"content": "pong"}},
                    {"index": 1, "message": {"content": "half"}},
                    {"index": 2, "message": {"content": None}},
                ],
                "switchboard": {
                    "lanes": [
                        {"index": 0, "address": "a", "state": "done", "message": None},
                        {"index": 1, "address": "b", "state": "interrupted", "message": "it may have run"},
                        {"index": 2, "address": "c", "state": "done", "message": None},
                    ]
                },
            },
            {"a": "pong"},
            {"b": "it may have run", "c": proof.WORDLESS},
        ),
    ],
)
def test_only_words_of_a_turn_that_was_done_are_a_reply(
    value: dict[str, Any], replies: dict[str, str], failures: dict[str, str]
) -> None:
    outcome = proof.outcome_of(proof.Request("x", "/", {}), 200, 0.41, value)
    assert (outcome.replies, outcome.failures, outcome.is_ok) == (replies, failures, not failures)
