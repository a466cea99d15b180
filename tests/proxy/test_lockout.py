"""Wrong credentials are counted for each address; a flood of them fills neither memory nor log."""

import time
from ipaddress import IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_proxy.lockout import (
    ADDRESSES,
    LINE_SECONDS,
    LONGEST_SECONDS,
    REMEMBERED_SECONDS,
    WINDOW_SECONDS,
    WRONG_ONES,
    Lockout,
    _counted_as,
)

NAS = "100.64.0.9"
LAPTOP = "100.64.0.10"


def waits(lockout: Lockout, times: int, *, at: float, address: str = NAS) -> list[int | None]:
    return [lockout.wrong(address, at).retry_after_seconds for _ in range(times)]


def locked(at: float = 0.0) -> Lockout:
    lockout = Lockout()
    assert waits(lockout, WRONG_ONES + 1, at=at)[-1] == 1
    return lockout


def test_ten_wrong_ones_in_a_minute_are_ordinary_and_the_next_is_locked_out() -> None:
    assert waits(Lockout(), 11, at=5.0) == [None] * 10 + [1]


def test_the_minute_slides() -> None:
    lockout = Lockout()
    assert lockout.wrong(NAS, 0.0).retry_after_seconds is None
    assert waits(lockout, 9, at=59.0) == [None] * 9
    # The first one is a minute old: eleven wrong ones, but never more than ten in any minute.
    assert lockout.wrong(NAS, 60.0).retry_after_seconds is None
    assert lockout.wrong(NAS, 60.5).retry_after_seconds == 1


def test_ten_a_minute_for_ever_are_never_locked_out() -> None:
    lockout = Lockout()
    for number in range(200):
        assert lockout.wrong(NAS, number * WINDOW_SECONDS / WRONG_ONES).retry_after_seconds is None


def test_each_that_does_not_wait_is_told_to_wait_twice_as_long_up_to_an_hour() -> None:
    assert waits(locked(), 13, at=0.5) == [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]


def test_one_that_waited_may_be_wrong_ten_times_again_and_then_waits_twice_as_long() -> None:
    lockout = locked()
    assert waits(lockout, 11, at=1.0) == [None] * 10 + [2]
    assert lockout.wrong(NAS, 2.99).retry_after_seconds == 4
    assert waits(lockout, 11, at=7.0) == [None] * 10 + [8]


def test_the_doubling_is_forgotten_an_hour_after_the_lockout() -> None:
    for later, seconds in ((REMEMBERED_SECONDS - 1, 2), (REMEMBERED_SECONDS, 1)):
        assert waits(locked(), 11, at=1.0 + later)[-1] == seconds


def test_a_right_one_clears_the_count_the_lockout_and_the_doubling() -> None:
    lockout = locked()
    lockout.right(NAS)
    assert waits(lockout, 11, at=0.0) == [None] * 10 + [1]
    lockout.right("100.64.0.77")  # never seen


def test_addresses_do_not_count_for_each_other() -> None:
    lockout = locked()
    assert lockout.wrong(LAPTOP, 0.0).retry_after_seconds is None
    lockout.right(LAPTOP)
    assert lockout.wrong(NAS, 0.0).retry_after_seconds == 2


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1", "2001:db8:0:0:5::", True),
        ("fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2", False),  # a tailnet's nodes share a /64
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_a_host_counts_as_one_however_many_addresses_it_may_choose(one: str, other: str, *, is_same: bool) -> None:
    lockout = Lockout()
    waits(lockout, 11, at=0.0, address=one)
    assert (lockout.wrong(other, 0.0).retry_after_seconds == 2) is is_same


@given(st.integers(0, 2**128 - 1), st.integers(0, 2**64 - 1))
def test_any_two_ipv6_addresses_count_as_one_exactly_within_a_64(number: int, other_host: int) -> None:
    one, other = IPv6Address(number), IPv6Address(number >> 64 << 64 | other_host)
    assert one.packed[:8] == other.packed[:8]
    if not (one.ipv4_mapped or other.ipv4_mapped or str(one).startswith("fd7a:115c:a1e0:")):
        assert _counted_as(str(one)) == _counted_as(str(other))
        assert _counted_as(str(one)) != _counted_as(str(IPv6Address(number ^ 1 << 64)))


@given(st.text(max_size=100))
def test_what_is_no_address_is_counted_and_kept_short(text: str) -> None:
    assert len(_counted_as(text)) <= 45
    assert Lockout().wrong(text, 0.0).retry_after_seconds is None


def test_the_first_wrong_one_of_an_address_gets_a_line_then_one_a_minute_with_how_many_went_untold() -> None:
    lockout = Lockout()
    assert lockout.wrong(NAS, 0.0)[1:] == (True, 0)
    assert lockout.wrong(LAPTOP, 0.0)[1:] == (True, 0)
    told = [lockout.wrong(NAS, second / 10)[1:] for second in range(1, 1300)]
    assert [(number, untold) for number, (is_told, untold) in enumerate(told, 1) if is_told] == [
        (600, 599),
        (1200, 599),
    ]


def test_a_flood_from_more_addresses_than_the_table_holds_neither_grows_it_nor_writes_more_lines() -> None:
    lockout = Lockout()
    flood = [f"10.{number >> 8}.{number & 255}.1" for number in range(ADDRESSES + 100)]
    lines = untold = 0
    for second in range(0, 120, 10):
        for address in flood:
            refusal = lockout.wrong(address, float(second))
            lines += refusal.is_told
            untold += refusal.untold if refusal.is_told else 0
    assert len(lockout) == ADDRESSES
    # One line a minute and place of the table, in two minutes; without the rule each of the twelve rounds had its own.
    assert ADDRESSES <= lines <= 2 * ADDRESSES
    assert lines + untold <= 12 * len(flood)


def test_the_address_that_was_wrong_least_recently_gives_way() -> None:
    lockout = locked()
    for number in range(ADDRESSES - 1):
        lockout.wrong(f"10.{number >> 8}.{number & 255}.1", 0.0)
    assert lockout.wrong(NAS, 0.0).retry_after_seconds == 2
    lockout.wrong("10.200.0.1", 0.0)  # takes the place of 10.0.0.1
    assert lockout.wrong(NAS, 0.0).retry_after_seconds == 4


def test_a_flood_from_ever_new_addresses_costs_microseconds_each() -> None:
    lockout, calls, rounds = Lockout(), 20_000, []
    for part in range(5):
        began = time.perf_counter()
        for number in range(calls):
            lockout.wrong(f"172.{part}.{number >> 8}.{number & 255}", 0.0)
        rounds.append(time.perf_counter() - began)
    assert min(rounds) / calls < 20e-6  # 2 µs on the machine where it was written, half of it for the text


def test_limits_are_the_documented_ones() -> None:
    assert (WRONG_ONES, WINDOW_SECONDS, LINE_SECONDS, LONGEST_SECONDS) == (10, 60.0, 60.0, 3600)
