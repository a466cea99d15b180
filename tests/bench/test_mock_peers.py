import json
import time

from bench.frames import ROLE
from bench.load import BEARER_HEADER, Door
from bench.mock_peers import MockPeers, Script
from bench.running import free_port


def door(peers: MockPeers, peer: int) -> Door:
    return Door(peers.places[f"peer-{peer}"][1], BEARER_HEADER)


def test_a_client_sees_when_each_text_was_sent_and_when_it_was_there() -> None:
    with MockPeers(3) as peers:
        told = peers.turn(door(peers, 1), [Script()] * 3, seconds=20)
    assert told.failure == ""
    assert [(peer, number) for peer, number, _, _ in told.texts] == [(1, 0), (1, 1), (1, 2)]
    times = [told.asked_ns, told.frame_ns, told.texts[0][3], told.ended_ns]
    assert 0 < told.asked_ns < told.frame_ns
    assert times == sorted(times)
    assert told.first_sent_ns == told.texts[0][2] < told.last_sent_ns < told.ended_ns


def test_a_peer_keeps_to_its_script() -> None:
    with MockPeers(1) as peers:
        told = peers.turn(door(peers, 0), [Script(first_seconds=0.05, texts=4, gap_seconds=0.02)], seconds=20)
    assert len(told.texts) == 4
    assert (told.first_sent_ns - told.asked_ns) / 1e9 >= 0.05
    assert (told.last_sent_ns - told.asked_ns) / 1e9 >= 0.05 + 4 * 0.02


def test_what_an_earlier_turn_left_to_say_is_not_said_in_the_next() -> None:
    with MockPeers(1) as peers:
        left = peers.turn(door(peers, 0), [Script(first_seconds=0.05)], seconds=0.01)
        assert left.failure == "the turn did not end in 0.01 s"
        told = peers.turn(door(peers, 0), [Script(first_seconds=0.1, texts=1)], seconds=20)
    assert [(peer, number) for peer, number, _, _ in told.texts] == [(0, 0)]
    assert left.texts == []


def test_a_refusal_is_the_failure_of_the_turn() -> None:
    with MockPeers(1) as peers:
        told = peers.turn(Door(door(peers, 0).port, "Bearer another"), [Script()], seconds=20)
    assert "401" in told.failure


def test_where_nothing_listens_the_turn_has_failed() -> None:
    with MockPeers(1) as peers:
        before = time.monotonic()
        told = peers.turn(Door(free_port(), BEARER_HEADER), [Script()], seconds=20)
    assert "no connection" in told.failure
    assert time.monotonic() - before < 10


def test_the_first_frame_is_the_role_of_an_agent() -> None:
    data = json.loads(ROLE.removeprefix(b"data: "))
    assert data["choices"][0]["delta"] == {"role": "assistant"}
