"""A signed, dated cookie that dies with its pair, is known to its own proxy only, and never goes upstream."""

from http.cookies import SimpleCookie

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_proxy.cookie import LIFETIME_SECONDS, SocketCookie, without_ours

PASSWORD = "0123456789abcdef0123456789abcdef"
NEXT = "fedcba9876543210fedcba9876543210"
NOW = 1_700_000_000.25
OURS = SocketCookie("coordinator", (PASSWORD,), port=9121)


def sent(set_cookie: bytes) -> bytes:
    """What a browser sends back."""
    return set_cookie.partition(b";")[0]


GOOD = sent(OURS.cookie(NOW, is_https=False))
NAME, _, VALUE = GOOD.partition(b"=")


def attributes(set_cookie: bytes) -> list[bytes]:
    return set_cookie.split(b"; ")[1:]


def test_it_is_kept_from_scripts_and_other_sites_and_from_the_wire_on_https() -> None:
    common = [b"Path=/", b"Max-Age=43200", b"HttpOnly", b"SameSite=Strict"]
    plain, secure = OURS.cookie(NOW, is_https=False), OURS.cookie(NOW, is_https=True)
    assert attributes(plain) == common
    assert attributes(secure) == [*common, b"Secure"]
    assert plain.startswith(b"switchboard_socket_")
    assert secure.startswith(b"__Host-switchboard_socket_")


def test_a_reader_that_is_not_ours_understands_it() -> None:
    morsel = SimpleCookie(OURS.cookie(NOW, is_https=True).decode())["__Host-" + NAME.decode()]
    assert (morsel["path"], morsel["max-age"], morsel["httponly"]) == ("/", "43200", True)
    assert (morsel["samesite"], morsel["secure"], morsel["domain"]) == ("Strict", True, "")


@pytest.mark.parametrize("is_https", [True, False])
def test_it_counts_for_twelve_hours(*, is_https: bool) -> None:
    headers = [sent(OURS.cookie(NOW, is_https=is_https))]
    assert OURS.is_cookie_good(headers, NOW)
    assert OURS.is_cookie_good(headers, NOW + LIFETIME_SECONDS - 1)
    assert not OURS.is_cookie_good(headers, NOW + LIFETIME_SECONDS)


@pytest.mark.parametrize(
    "headers",
    [
        [b"theme=dark; " + GOOD],
        [GOOD + b"; theme=dark"],
        [b"theme=dark;" + GOOD + b" ;"],
        [b"theme=dark", GOOD],
        [NAME + b"=1.00", GOOD],
        [NAME + b"=stale; " + GOOD],
        [b"\xff\xfe=\x00; " + GOOD],
    ],
)
def test_it_is_found_among_others(headers: list[bytes]) -> None:
    assert OURS.is_cookie_good(headers, NOW)


UNTIL, _, SIGNATURE = VALUE.partition(b".")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b""],
        [b";;="],
        [NAME],
        [NAME + b"="],
        [NAME + b"=."],
        [NAME + b"=" + UNTIL],
        [NAME + b"=" + UNTIL + b"."],
        [NAME + b"=" + SIGNATURE],
        [NAME + b"=" + b"%d" % (int(UNTIL) + 1) + b"." + SIGNATURE],
        [NAME + b"=+" + UNTIL + b"." + SIGNATURE],
        [NAME + b"=0" + UNTIL + b"." + SIGNATURE],
        [NAME + b"=" + VALUE[:-1]],
        [NAME + b"=" + VALUE + b"0"],
        [NAME + b"=" + UNTIL + b"." + SIGNATURE.upper()],
        [NAME + b'="' + VALUE + b'"'],
        [NAME.upper() + b"=" + VALUE],
        [b"switchboard_socket=" + VALUE],
        [b"x" + GOOD],
        [GOOD.removeprefix(b"switchboard_socket")],
        [b"__Host-" + GOOD.removeprefix(b"switchboard_socket")],
        [b"a=b, " + GOOD],
        [NAME + b"=never.\xff"],
    ],
)
def test_anything_else_does_not_count(headers: list[bytes]) -> None:
    assert not OURS.is_cookie_good(headers, NOW)


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_nothing_made_up_counts_or_breaks_the_reader(headers: list[bytes]) -> None:
    assert not OURS.is_cookie_good(headers, NOW)
    assert not OURS.is_cookie_good([NAME + b"=" + header for header in headers], NOW)


def test_it_dies_with_its_pair() -> None:
    both = SocketCookie("coordinator", (PASSWORD, NEXT), port=9121)
    after = SocketCookie("coordinator", (NEXT,), port=9121)
    assert both.is_cookie_good([GOOD], NOW)
    assert not after.is_cookie_good([GOOD], NOW)
    # What is made while two pairs count is made with the one in force; one made with the next is known already.
    assert sent(both.cookie(NOW, is_https=False)) == GOOD
    assert both.is_cookie_good([sent(after.cookie(NOW, is_https=False))], NOW)


@pytest.mark.parametrize(
    "other",
    [
        SocketCookie("coordinator", (PASSWORD,), port=9122),
        SocketCookie("coordinator", (NEXT,), port=9121),
        SocketCookie("someone", (PASSWORD,), port=9121),
    ],
)
def test_two_proxies_at_one_host_name_neither_take_nor_overwrite_each_others(other: SocketCookie) -> None:
    theirs = sent(other.cookie(NOW, is_https=False))
    assert theirs.partition(b"=")[0] != NAME
    assert not other.is_cookie_good([GOOD], NOW)
    assert not OURS.is_cookie_good([theirs], NOW)
    assert OURS.is_cookie_good([theirs + b"; " + GOOD], NOW)
    # Nor under the other's name.
    assert not OURS.is_cookie_good([NAME + b"=" + theirs.partition(b"=")[2]], NOW)


def test_a_head_full_of_forged_ones_costs_no_more_than_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    from switchboard_proxy import cookie

    signed: list[bytes] = []
    sign = cookie._signature

    def noted(key: bytes, until: bytes) -> bytes:
        signed.append(until)
        return sign(key, until)

    monkeypatch.setattr(cookie, "_signature", noted)
    assert not OURS.is_cookie_good([b"; ".join([NAME + b"=" + UNTIL + b".00"] * 500)], NOW)
    assert len(signed) == 8


def test_neither_cookie_nor_text_shows_the_password() -> None:
    assert PASSWORD not in repr(OURS) + str(vars(OURS)) + OURS.cookie(NOW, is_https=True).decode()


@pytest.mark.parametrize(
    ("value", "rest"),
    [
        (b"theme=dark", b"theme=dark"),
        (b"", b""),
        (b" ; odd;;  spacing =1 ", b" ; odd;;  spacing =1 "),
        (GOOD, None),
        (b" " + GOOD + b" ; ", None),
        (GOOD + b"; __Host-" + GOOD, None),
        (b"theme=dark; " + GOOD, b"theme=dark"),
        (GOOD + b"; theme=dark", b"theme=dark"),
        (b"a=1;" + GOOD + b"; b=2", b"a=1; b=2"),
        (b"a=1; __Host-" + GOOD + b";b=2 ;c", b"a=1;b=2 ;c"),
        (b"a=1; switchboard_socket_of_another=2", b"a=1"),
        (b"a=1; switchboard_socket", b"a=1"),
        (b"a=switchboard_socket_1; b=2", b"a=switchboard_socket_1; b=2"),
        (b'a="\xff,\\";\t' + GOOD + b"; b=\xe4", b'a="\xff,\\"; b=\xe4'),
    ],
)
def test_what_goes_upstream_has_none_of_ours_and_the_rest_byte_for_byte(value: bytes, rest: bytes | None) -> None:
    assert without_ours(value) == rest


@given(st.lists(st.sampled_from([b"a=1", b" b=2", b"", b" ", GOOD, b" __Host-" + GOOD, b"c=" + NAME]), max_size=6))
def test_whatever_stands_beside_it_stays_in_its_order(pairs: list[bytes]) -> None:
    rest = without_ours(b";".join(pairs))
    others = [pair for pair in pairs if GOOD not in pair]
    assert [pair.strip() for pair in (rest or b"").split(b";") if pair.strip()] == [
        pair.strip() for pair in others if pair.strip()
    ]
