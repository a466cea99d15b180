"""The peers as they are known now."""

from datetime import UTC, datetime

import pytest
from switchboard_coordinator.address import Address
from switchboard_coordinator.peers import roster as roster_module
from switchboard_coordinator.peers.health import LET_IN, Found, no_network, reported
from switchboard_coordinator.peers.peers_file import parse_peers
from switchboard_coordinator.peers.roster import DRAINED, Roster, Snapshot

UP = Found(reported("up", None), "0.19.0")
AWAY = no_network("refused")
NAS = Address("default", "nas")


@pytest.fixture
def roster() -> Roster:
    text = "peers:\n  nas: {host: nas, password_file: p, profiles: {default: , work: }}\n"
    return Roster(parse_peers(text + "  tower: {host: tower, password_file: p}\n", "peers.yaml"))


def test_a_peer_that_was_never_asked_is_down_since_nobody_knows(roster: Roster) -> None:
    peer = roster.now.peers["nas"]
    assert (peer.state, peer.since, peer.detail) == ("down", None, "has not been asked yet")
    assert {(profile.since, profile.detail) for profile in peer.profiles.values()} == {(None, "has not been asked yet")}


def test_a_state_keeps_the_time_at_which_it_began_until_it_changes(roster: Roster) -> None:
    began = datetime.now(UTC)
    roster.note("nas", LET_IN, {"default": UP, "work": UP}, 1.5)
    first = roster.now.peers["nas"]
    roster.note("nas", LET_IN, {"default": UP, "work": Found(reported("down", "gone"))}, 2.5)
    second = roster.now.peers["nas"]
    assert first.since is not None
    assert second.since is not None
    assert began <= first.since < second.since
    assert second.profiles["default"].since == first.profiles["default"].since
    assert second.profiles["work"].since == second.since
    assert (second.state, second.detail, second.round_trip_ms) == ("degraded", "work: gone", 2.5)


def test_the_first_look_at_a_peer_that_is_down_gives_it_a_time(roster: Roster) -> None:
    roster.note("nas", AWAY, {}, None)
    assert roster.now.peers["nas"].since is not None


def test_a_profile_without_a_word_of_its_own_is_as_its_peer_and_keeps_its_version(roster: Roster) -> None:
    roster.note("nas", LET_IN, {"default": UP, "work": UP}, 1.5)
    roster.note("nas", AWAY, {}, None)
    profile = roster.now.peers["nas"].profiles["default"]
    assert (profile.state, profile.detail, profile.agent_version) == ("down", "refused", "0.19.0")


def test_a_snapshot_is_replaced_and_never_changed(roster: Roster) -> None:
    before: Snapshot = roster.now
    tower = before.peers["tower"]
    roster.note("nas", reported("up", None), {}, 1.0)
    assert before.peers["nas"].state == "down"
    assert roster.now is not before
    assert roster.now.peers["tower"] is tower
    assert list(roster.now.peers) == ["nas", "tower"]
    with pytest.raises(TypeError):
        before.peers["x"] = tower  # type: ignore[index]  # that it cannot be set is the point


def test_the_last_turn_is_kept_with_its_address_whatever_the_looks_find(roster: Roster) -> None:
    began = datetime.now(UTC)
    roster.turned(NAS, "failed", "peer_failed")
    roster.note("nas", AWAY, {}, None)
    profiles = roster.now.peers["nas"].profiles
    turn = profiles["default"].last_turn
    assert turn is not None
    assert (turn.outcome, turn.code, turn.state) == ("failed", "peer_failed", "failed")
    assert began <= turn.at <= datetime.now(UTC)
    assert profiles["work"].last_turn is None
    assert profiles["default"].state == "down", "what a turn found is a level of its own"


def test_turns_that_end_alike_renew_the_time_of_the_last_one(roster: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    roster.turned(NAS, "done")
    first = roster.now
    roster.turned(NAS, "done")
    assert roster.now is first, "not with every turn of many in a second"
    monkeypatch.setattr(roster_module, "TURN_TIMES_DIFFER", -roster_module.TURN_TIMES_DIFFER)
    roster.turned(NAS, "done")
    before, after = (snapshot.peers["nas"].profiles["default"].last_turn for snapshot in (first, roster.now))
    assert before is not None
    assert after is not None
    assert before.at < after.at


def test_whoever_asks_is_told_of_changes_and_of_nothing_that_is_none(roster: Roster) -> None:
    told: list[str] = []
    with roster.telling(told.append):
        roster.note("nas", LET_IN, {"default": UP, "work": UP}, 1.0)
        roster.note("nas", LET_IN, {"default": UP, "work": UP}, 2.0)
        assert told == ["nas"], "a round trip is no news"
        roster.note("tower", AWAY, {}, None)
        roster.note("tower", AWAY, {}, None)
        roster.note("tower", no_network("another reason"), {}, None)
        assert told == ["nas", "tower", "tower"]
        roster.turned(NAS, "done")
        roster.turned(NAS, "done")
        roster.turned(NAS, "failed", "peer_failed")
        assert told[3:] == ["nas", "nas"]
    roster.note("nas", AWAY, {}, None)
    assert len(told) == 5, "told after it had gone"


@pytest.mark.parametrize(
    ("found", "state", "detail"),
    [
        (Found(reported("up", None)), "draining", DRAINED),
        (Found(reported("degraded", "slow")), "draining", f"{DRAINED}; default: slow; work: slow"),
        (Found(reported("down", "gone")), "down", "default: gone; work: gone"),
        (Found(reported("unauthorized", "key")), "unauthorized", "default: key; work: key"),
    ],
)
def test_a_peer_that_takes_turns_is_draining_instead_and_what_is_wrong_with_another_is_said_first(
    roster: Roster, found: Found, state: str, detail: str
) -> None:
    roster.note("nas", LET_IN, {"default": found, "work": found}, 1.0)
    roster.drained("nas", datetime.now(UTC))
    peer = roster.now.peers["nas"]
    assert (peer.state, peer.detail, peer.is_draining) == (state, detail, True)
    assert peer.profiles["default"].state == found.levels.state, "a profile is as it was found"


def test_a_drain_is_told_once_with_the_time_at_which_the_state_began(roster: Roster) -> None:
    roster.note("nas", LET_IN, {"default": UP, "work": UP}, 1.0)
    found = roster.now.peers["nas"].since
    heard: list[str] = []
    with roster.telling(heard.append):
        began = datetime.now(UTC)
        roster.drained("nas", began)
        roster.drained("nas", began)
        assert heard == ["nas"]
        peer = roster.now.peers["nas"]
        assert found is not None
        assert peer.since is not None
        assert found < began <= peer.since
        roster.note("nas", LET_IN, {"default": UP, "work": UP}, 1.0)
        assert roster.now.peers["nas"].since == peer.since
        roster.drained("nas", None)
    assert heard == ["nas", "nas"]
    assert (roster.now.peers["nas"].state, roster.now.peers["nas"].detail) == ("up", None)
