"""What crosses on raw access, as functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.errors import MalformedRequest, RouteNotFound
from switchboard_coordinator.peers.refusal import pause_seconds
from switchboard_coordinator.surfaces.raw_crossing import starts_a_turn, target_of, to_client, to_peer

MOUNT = "/peers/nas/v1/"


@pytest.mark.parametrize(
    ("path", "query", "target"),
    [
        (b"models", b"", b"/v1/models"),
        (b"runs/run_1/events", b"after=3&x=%2F", b"/v1/runs/run_1/events?after=3&x=%2F"),
        (b"a%20b", b"", None),
        (b"caf%C3%A9", b"", b"/v1/caf%C3%A9"),
        (b"caf\xc3\xa9", b"", None),
        (b"models", b"x=\xff", None),
        (b"a/../b", b"", None),
        (b"a%5cb", b"", None),
        (b"a%3Fb", b"", None),
        (b"..", b"", None),
        (b"", b"", None),
    ],
)
def test_a_target_is_the_clients_spelling_or_refused(path: bytes, query: bytes, target: bytes | None) -> None:
    if target is None:
        with pytest.raises(MalformedRequest):
            target_of(MOUNT.encode() + path, query, MOUNT)
    else:
        assert target_of(MOUNT.encode() + path, query, MOUNT) == target


def test_a_mount_in_another_spelling_is_no_route() -> None:
    with pytest.raises(RouteNotFound):
        target_of(b"/peers/n%61s/v1/models", b"", MOUNT)


@given(st.text(alphabet="a.%2fFeE5cC/\\0?#;", max_size=12))
def test_no_target_climbs(path: str) -> None:
    try:
        target = target_of(MOUNT.encode() + path.encode(), b"", MOUNT)
    except MalformedRequest:
        return
    segments = target.removeprefix(b"/v1/").split(b"/")
    assert not {b"", b".", b".."} & {*segments}
    assert b"%2f" not in target.lower()
    assert b"%2e" not in target.lower() or not any(segment.lower() in (b"%2e", b"%2e%2e") for segment in segments)


def test_a_turn_is_started_by_a_post_to_one_of_three_places_however_it_is_spelt() -> None:
    assert starts_a_turn("POST", b"/v1/chat/completions")
    assert starts_a_turn("POST", b"/v1/r%75ns?x=1")
    assert not starts_a_turn("GET", b"/v1/responses")
    assert not starts_a_turn("POST", b"/v1/runs/run_1/stop")


def test_headers_of_one_hop_end_there_each_way() -> None:
    asked = [(b"connection", b"close, X-One"), (b"x-one", b"1"), (b"sec-fetch-site", b"none"), (b"x-two", b"2")]
    assert to_peer(asked, request_id="r") == [(b"x-two", b"2"), (b"x-request-id", b"r")]
    told = [(b"Connection", b"X-One"), (b"X-One", b"1"), (b"X-Switchboard-Started", b"no"), (b"X-Two", b"2")]
    assert to_client(told) == [(b"x-two", b"2")]


@pytest.mark.parametrize(("told", "seconds"), [("7", 7.0), ("", 1.0), (None, 1.0), ("Wed, 25 Nov 2026", 1.0)])
def test_a_retry_after_is_seconds_or_one(told: str | None, seconds: float) -> None:
    assert pause_seconds(told) == seconds
