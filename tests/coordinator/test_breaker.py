"""Whether a peer is worth a connect."""

from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.peers.breaker import OPEN_SECONDS, PROBE_SECONDS, Breaker, State


def state_of(breaker: Breaker) -> State:
    """As it is now: a type checker believes that it stays as it was."""
    return breaker.state


def test_a_new_breaker_lets_every_turn_pass() -> None:
    breaker = Breaker()
    assert state_of(breaker) == "closed"
    assert not any(breaker.refuses(now) for now in (0.0, 1.0, 1e9))


def test_one_failure_opens_it_and_one_success_closes_it() -> None:
    breaker = Breaker()
    breaker.failed(100.0)
    assert state_of(breaker) == "open"
    assert breaker.refuses(100.0)
    assert breaker.refuses(100.0 + OPEN_SECONDS - 0.01)
    breaker.succeeded()
    assert state_of(breaker) == "closed"
    assert not breaker.refuses(100.0)


def test_it_stays_open_as_long_as_somebody_finds_the_peer_away() -> None:
    breaker = Breaker()
    for now in range(0, 1000, 2):
        breaker.failed(float(now))
        assert breaker.refuses(now + 1.9)
    assert state_of(breaker) == "open"


def test_where_nobody_looks_any_more_one_turn_finds_out_and_the_others_are_refused() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    now = OPEN_SECONDS
    assert not breaker.refuses(now)
    assert state_of(breaker) == "half-open"
    assert all(breaker.refuses(now + later) for later in (0.0, 1.0, PROBE_SECONDS - 0.01))


def test_a_probe_that_fails_opens_it_again_and_one_that_succeeds_closes_it() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    assert not breaker.refuses(OPEN_SECONDS)
    breaker.failed(OPEN_SECONDS + 1)
    assert state_of(breaker) == "open"
    assert breaker.refuses(2 * OPEN_SECONDS)
    assert not breaker.refuses(2 * OPEN_SECONDS + 1)
    breaker.succeeded()
    assert state_of(breaker) == "closed"


def test_a_probe_that_never_tells_is_followed_by_another_one() -> None:
    breaker = Breaker()
    breaker.failed(0.0)
    assert not breaker.refuses(OPEN_SECONDS)
    assert not breaker.refuses(OPEN_SECONDS + PROBE_SECONDS)
    assert breaker.refuses(OPEN_SECONDS + PROBE_SECONDS)


def test_whether_a_peer_is_away_can_be_asked_without_becoming_its_probe() -> None:
    breaker = Breaker()
    assert not breaker.is_away(0.0)
    breaker.failed(0.0)
    assert breaker.is_away(OPEN_SECONDS - 0.01)
    assert not breaker.is_away(OPEN_SECONDS)
    assert not breaker.is_away(OPEN_SECONDS)
    assert not breaker.refuses(OPEN_SECONDS), "the probe is still to go"
    assert breaker.is_away(OPEN_SECONDS)


def test_who_looks_is_told_once_when_it_opens() -> None:
    breaker, told = Breaker(), []
    breaker.opened = lambda: told.append(breaker.state)
    breaker.failed(0.0)
    breaker.failed(1.0)
    assert told == ["open"]
    breaker.succeeded()
    breaker.failed(2.0)
    assert told == ["open", "open"]


@given(st.lists(st.tuples(st.sampled_from(["asks", "failed", "succeeded"]), st.floats(0.0, 8.0))))
def test_no_turn_passes_soon_after_a_failure_or_another_probe(steps: list[tuple[str, float]]) -> None:
    breaker, now, since = Breaker(), 0.0, 0.0
    for step, later in steps:
        now += later
        is_open = breaker.state != "closed"
        if step == "succeeded":
            breaker.succeeded()
        elif step == "failed":
            breaker.failed(now)
            since = now
        elif not breaker.refuses(now) and is_open:
            assert now - since >= min(OPEN_SECONDS, PROBE_SECONDS)
            since = now
