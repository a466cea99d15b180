"""The roster as a terminal shows it."""

from typing import Any

from rich.console import Console
from switchboard_coordinator.command.peers_table import peers_table


def shown(body: dict[str, Any]) -> list[str]:
    console = Console(width=200, highlight=False)
    with console.capture() as capture:
        console.print(peers_table(body))
    return capture.get().splitlines()


def profile(name: str, state: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "address": f"{name}@nas",
        "state": state,
        "since": "2026-08-01T12:34:56.789+00:00",
        "detail": None,
        "agent_version": None,
        "capabilities": [],
        **more,
    }


def peer(*profiles: dict[str, Any], **more: Any) -> dict[str, Any]:
    turns = {"limit": 4, "running": 0, "waiting": 0}
    found = {"name": "nas", "round_trip_ms": 1.5, "draining_since": None, "turns": turns, "profiles": [*profiles]}
    return found | more


def test_each_profile_has_a_line_and_what_is_wrong_stands_below() -> None:
    well = profile("default", "up", agent_version="0.19.0", capabilities=["home", "code"])
    ill = profile("work", "down", detail="[the agent] does not answer", since=None)
    head, first, second, detail = shown({"peers": [peer(well, ill)]})
    assert head.split() == ["address", "state", "since", "round", "trip", "agent", "capabilities"]
    assert first.split() == ["default@nas", "up", "2026-08-01", "12:34:56", "1.5", "ms", "0.19.0", "home", "code"]
    assert second.split() == ["work@nas", "down", "1.5", "ms"]
    assert detail == "work@nas: [the agent] does not answer"


def test_a_peer_that_never_answered_has_no_round_trip() -> None:
    _, line, _ = shown({"peers": [peer(profile("default", "down", detail="x"), round_trip_ms=None)]})
    assert "ms" not in line


def test_a_drained_peer_says_since_when_and_what_is_left_there_and_a_profile_that_is_down_stays_so() -> None:
    told = peer(
        profile("default", "up"),
        profile("work", "down"),
        draining_since="2026-08-02T10:00:00.5+00:00",
        turns={"limit": 4, "running": 1, "waiting": 2},
    )
    _, first, second, detail = shown({"peers": [told]})
    assert (first.split()[:2], second.split()[:2]) == (["default@nas", "draining"], ["work@nas", "down"])
    assert detail == "nas: drained since 2026-08-02 10:00:00; 1 running, 2 waiting"
