"""How a peer and its profiles are, level by level."""

from datetime import UTC, datetime
from typing import Any

import pytest
from switchboard_coordinator.peers import look
from switchboard_coordinator.peers.health import (
    LET_IN,
    NEVER_LOOKED,
    OK,
    UNKNOWN,
    LastTurn,
    Level,
    Levels,
    no_network,
    no_proxy,
    refused,
    reported,
    summed_up,
)

UP = reported("up", None)
NAMES = ("network", "proxy", "credential", "agent")


def states(levels: Levels) -> tuple[str, ...]:
    return tuple(getattr(levels, name).state for name in NAMES)


LEVELS: dict[str, tuple[Levels, tuple[str, ...], str]] = {
    "nobody has looked": (NEVER_LOOKED, ("unknown",) * 4, "down"),
    "no connect": (no_network("x"), ("failed", "unknown", "unknown", "unknown"), "down"),
    "something else": (no_proxy("x"), ("ok", "failed", "unknown", "unknown"), "down"),
    "not let in": (refused("x"), ("ok", "ok", "failed", "unknown"), "unauthorized"),
    "wrong key": (reported("unauthorized", "x"), ("ok", "ok", "failed", "unknown"), "unauthorized"),
    "agent is away": (reported("unreachable", "x"), ("ok", "ok", "unknown", "failed"), "down"),
    "agent is another": (reported("down", "x"), ("ok", "ok", "unknown", "failed"), "down"),
    "a new word": (reported("sleepy", "x"), ("ok", "ok", "unknown", "failed"), "down"),
    "not ready": (reported("degraded", "x"), ("ok", "ok", "ok", "degraded"), "degraded"),
    "ready": (UP, ("ok",) * 4, "up"),
}


@pytest.mark.parametrize(("levels", "each", "state"), LEVELS.values(), ids=LEVELS.keys())
def test_each_finding_has_its_level_and_all_together_have_one_word(
    levels: Levels, each: tuple[str, ...], state: str
) -> None:
    assert (states(levels), levels.state) == (each, state)
    expected = {"up": None}.get(state, "has not been asked yet" if levels == NEVER_LOOKED else "x")
    assert levels.detail == expected


def test_a_key_that_is_refused_without_a_word_has_one_all_the_same() -> None:
    assert reported("unauthorized", None).detail


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ({"default": UP, "work": UP}, ("up", None)),
        ({"default": UP, "work": reported("down", "gone")}, ("degraded", "work: gone")),
        ({"default": reported("down", "gone")}, ("down", "default: gone")),
        ({"default": refused("key"), "work": refused("key")}, ("unauthorized", "default: key; work: key")),
        ({"default": reported("down", "a"), "work": refused("b")}, ("degraded", "default: a; work: b")),
        ({"default": reported("degraded", "slow")}, ("degraded", "default: slow")),
    ],
)
def test_a_peer_sums_up_its_profiles(profiles: dict[str, Levels], expected: tuple[str, str | None]) -> None:
    assert summed_up(profiles) == expected


@pytest.mark.parametrize(
    ("outcome", "state"), [("done", "ok"), ("failed", "failed"), ("interrupted", "failed"), ("cancelled", "unknown")]
)
def test_a_turn_speaks_for_its_agent_or_against_it_and_a_cancelled_one_for_neither(outcome: str, state: str) -> None:
    assert LastTurn(outcome, None, datetime.now(UTC)).state == state


REPORT = b'{"profiles":[{"name":"default","state":"up","agent_version":"0.19.0"},{"name":"other","state":"up"}]}'


def test_a_report_is_read_for_the_profiles_that_we_know() -> None:
    levels, profiles, _ = look.read(200, REPORT, ["default", "work"])
    assert levels == LET_IN
    assert [*profiles] == ["default", "work"]
    assert (profiles["default"].levels, profiles["default"].agent_version) == (UP, "0.19.0")
    assert profiles["work"].levels.proxy.state == "failed"
    assert "does not know this profile" in str(profiles["work"].levels.detail)


def envelope(code: str, message: str = "so it is") -> bytes:
    return b'{"error":{"code":"%b","message":"%b"}}' % (code.encode(), message.encode())


ANSWERS: dict[str, tuple[int, bytes, str, str]] = {
    "a page": (200, b"<html>", "proxy", "no proxy of ours (status 200)"),
    "another JSON": (200, b'{"status":"ok"}', "proxy", "no proxy of ours (status 200)"),
    "not found": (404, b"not found", "proxy", "no proxy of ours (status 404)"),
    "no password": (401, b"", "credential", "mend the password file"),
    "locked out": (429, envelope("locked_out"), "credential", "mend the password file"),
    "not this caller": (403, envelope("caller_refused"), "credential", "SWITCHBOARD_PROXY_ALLOWED_CALLERS"),
    "another name": (421, b"{}", "proxy", "SWITCHBOARD_PROXY_NAMES"),
    "another refusal": (503, envelope("draining", "is stopping"), "proxy", "its proxy does not tell: is stopping"),
}


@pytest.mark.parametrize(("status", "body", "level", "words"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_is_no_report_tells_which_level_fails(status: int, body: bytes, level: str, words: str) -> None:
    levels, profiles, _ = look.read(status, body, ["default"])
    found: dict[str, Any] = {name: getattr(levels, name) for name in NAMES}
    assert found.pop(level) == Level("failed", levels.detail)
    assert words in str(levels.detail)
    assert set(found.values()) == {OK, UNKNOWN}
    assert profiles == {}
