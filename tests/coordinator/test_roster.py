"""The peers as they are known now."""

from datetime import UTC, datetime

import pytest
from switchboard_coordinator.peers_file import parse_peers
from switchboard_coordinator.roster import Found, Roster, Snapshot, summed_up


@pytest.fixture
def roster() -> Roster:
    text = "peers:\n  nas: {host: nas, password_file: p, profiles: {default: , work: }}\n"
    return Roster(parse_peers(text + "  tower: {host: tower, password_file: p}\n", "peers.yaml"))


def test_a_peer_that_was_never_asked_is_down_since_nobody_knows(roster: Roster) -> None:
    peer = roster.now.peers["nas"]
    assert (peer.state, peer.since, peer.detail) == ("down", None, "has not been asked yet")
    assert {profile.since for profile in peer.profiles.values()} == {None}


def test_a_state_keeps_the_time_at_which_it_began_until_it_changes(roster: Roster) -> None:
    began = datetime.now(UTC)
    roster.note("nas", Found("up"), {"default": Found("up", agent_version="0.19.0"), "work": Found("up")}, 1.5)
    first = roster.now.peers["nas"]
    roster.note("nas", Found("degraded", "x"), {"default": Found("up"), "work": Found("down", "gone")}, 2.5)
    second = roster.now.peers["nas"]
    assert first.since is not None
    assert second.since is not None
    assert began <= first.since < second.since
    assert second.profiles["default"].since == first.profiles["default"].since
    assert second.profiles["work"].since == second.since
    assert (second.state, second.detail, second.round_trip_ms) == ("degraded", "x", 2.5)


def test_the_first_look_at_a_peer_that_is_down_gives_it_a_time(roster: Roster) -> None:
    roster.note("nas", Found("down", "refused"), {}, None)
    assert roster.now.peers["nas"].since is not None


def test_a_profile_without_a_word_of_its_own_is_as_its_peer_and_keeps_its_version(roster: Roster) -> None:
    roster.note("nas", Found("up"), {"default": Found("up", agent_version="0.19.0"), "work": Found("up")}, 1.5)
    roster.note("nas", Found("down", "refused"), {}, None)
    profile = roster.now.peers["nas"].profiles["default"]
    assert (profile.state, profile.detail, profile.agent_version) == ("down", "refused", "0.19.0")


def test_a_snapshot_is_replaced_and_never_changed(roster: Roster) -> None:
    before: Snapshot = roster.now
    tower = before.peers["tower"]
    roster.note("nas", Found("up"), {}, 1.0)
    assert before.peers["nas"].state == "down"
    assert roster.now is not before
    assert roster.now.peers["tower"] is tower
    assert list(roster.now.peers) == ["nas", "tower"]
    with pytest.raises(TypeError):
        before.peers["x"] = tower  # type: ignore[index]  # that it cannot be set is the point


@pytest.mark.parametrize(
    ("profiles", "found"),
    [
        ({"default": Found("up"), "work": Found("up")}, Found("up")),
        ({"default": Found("up"), "work": Found("down", "gone")}, Found("degraded", "work: gone")),
        ({"default": Found("down", "gone")}, Found("down", "default: gone")),
        (
            {"default": Found("unauthorized", "key"), "work": Found("unauthorized", "key")},
            Found("unauthorized", "default: key; work: key"),
        ),
        ({"default": Found("down", "a"), "work": Found("unauthorized", "b")}, Found("degraded", "default: a; work: b")),
        ({"default": Found("degraded", "slow")}, Found("degraded", "default: slow")),
    ],
)
def test_a_peer_sums_up_its_profiles(profiles: dict[str, Found], found: Found) -> None:
    assert summed_up(profiles) == found
