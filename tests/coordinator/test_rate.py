"""How many turns a minute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.keys.rate import Rates


def test_as_many_turns_as_the_rate_may_come_at_once_and_the_next_is_told_when() -> None:
    rates = Rates()
    taken = [rates.take("me", 3, now=100.0) for _ in range(4)]
    assert [one.is_allowed for one in taken] == [True, True, True, False]
    assert [one.remaining for one in taken] == [2, 1, 0, 0]
    assert [one.reset_seconds for one in taken] == [20, 40, 60, 60]
    assert taken[3].limit == 3
    assert taken[3].retry_after_seconds == 20
    assert not rates.take("me", 3, now=119.0).is_allowed
    assert rates.take("me", 3, now=120.0).is_allowed


def test_each_consumer_has_its_own() -> None:
    rates = Rates()
    assert rates.take("me", 1, now=0.0).is_allowed
    assert rates.take("you", 1, now=0.0).is_allowed
    assert not rates.take("me", 1, now=0.0).is_allowed


def test_nothing_is_saved_up_beyond_a_minute() -> None:
    rates = Rates()
    rates.take("me", 2, now=0.0)
    assert [rates.take("me", 2, now=9999.0).is_allowed for _ in range(3)] == [True, True, False]


def test_a_lower_rate_counts_at_once() -> None:
    rates = Rates()
    rates.take("me", 100, now=0.0)
    assert [rates.take("me", 2, now=0.0).is_allowed for _ in range(3)] == [True, True, False]


@given(st.integers(1, 1000), st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_never_more_than_the_rate_and_a_minutes_share_and_who_waits_as_told_is_let_in(
    per_minute: int, pauses: list[float]
) -> None:
    rates, now, allowed = Rates(), 0.0, 0
    for pause in pauses:
        now += pause
        one = rates.take("me", per_minute, now)
        allowed += one.is_allowed
        if not one.is_allowed:
            now += one.retry_after_seconds
            assert rates.take("me", per_minute, now).is_allowed
            allowed += 1
    assert allowed <= per_minute + now * per_minute / 60 + 0.01


@pytest.mark.parametrize("per_minute", [1, 7, 59, 61, 10_000])
def test_a_retry_is_never_told_to_come_at_once(per_minute: int) -> None:
    rates = Rates()
    for _ in range(per_minute):
        rates.take("me", per_minute, now=0.0)
    assert rates.take("me", per_minute, now=0.0).retry_after_seconds >= 1
