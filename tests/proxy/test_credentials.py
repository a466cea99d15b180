"""A pair that counts is right; everything else is wrong, and costs the same work to find out."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from switchboard_proxy import credentials
from switchboard_proxy.credentials import Credentials, Verdict

PASSWORD = "0123456789abcdef0123456789abcdef"
NEXT = "fedcba9876543210fedcba9876543210"
BOTH = Credentials("coordinator", (PASSWORD, NEXT))


def basic(pair: str, scheme: bytes = b"Basic") -> bytes:
    return scheme + b" " + base64.b64encode(pair.encode())


RIGHT = basic(f"coordinator:{PASSWORD}")


def test_both_pairs_are_right_while_both_count() -> None:
    for password in (PASSWORD, NEXT):
        assert BOTH.judge(basic(f"coordinator:{password}")) is Verdict.RIGHT


def test_a_pair_that_counts_no_more_is_wrong() -> None:
    assert Credentials("coordinator", (NEXT,)).judge(RIGHT) is Verdict.WRONG
    assert Credentials("coordinator", ()).judge(RIGHT) is Verdict.WRONG


@pytest.mark.parametrize("scheme", [b"basic", b"BASIC", b"bAsIc"])
def test_the_scheme_is_read_in_any_case(scheme: bytes) -> None:
    assert BOTH.judge(basic(f"coordinator:{PASSWORD}", scheme)) is Verdict.RIGHT


def test_a_user_beyond_ascii_is_read_as_utf_8() -> None:
    assert Credentials("jürgen", (PASSWORD,)).judge(basic(f"jürgen:{PASSWORD}")) is Verdict.RIGHT


def test_no_header_is_missing_and_an_empty_one_is_wrong() -> None:
    assert BOTH.judge(None) is Verdict.MISSING
    assert BOTH.judge(b"") is Verdict.WRONG


WRONG: dict[str, bytes] = {
    "empty": b"",
    "wrong user": basic(f"admin:{PASSWORD}"),
    "user in capitals": basic(f"Coordinator:{PASSWORD}"),
    "wrong password": basic("coordinator:00000000000000000000000000000000"),
    "a beginning of the password": basic(f"coordinator:{PASSWORD[:-1]}"),
    "more than the password": basic(f"coordinator:{PASSWORD}x"),
    "one password behind the other": basic(f"coordinator:{PASSWORD}{NEXT}"),
    "no colon": basic(f"coordinator{PASSWORD}"),
    "no user": basic(f":{PASSWORD}"),
    "no password": basic("coordinator:"),
    "a colon elsewhere": basic(f"coordinato:r{PASSWORD}"),
    "Bearer": b"Bearer " + PASSWORD.encode(),
    "the pair as Bearer": basic(f"coordinator:{PASSWORD}", b"Bearer"),
    "Digest": b'Digest username="coordinator"',
    "no scheme": RIGHT[6:],
    "an empty scheme": b" " + RIGHT[6:],
    "scheme alone": b"Basic",
    "scheme and blank": b"Basic ",
    "two blanks": b"Basic  " + RIGHT[6:],
    "a tab for the blank": b"Basic\t" + RIGHT[6:],
    "something behind": RIGHT + b" x",
    "not base64": b"Basic !!!!",
    "base64 with a stranger inside": RIGHT.replace(b"Y", b"Y\x0b", 1),
    "cut base64": RIGHT.rstrip(b"=")[:-1],
    "base64 without its padding": basic(f"coordinator:{PASSWORD}").rstrip(b"="),
    "another way to write the same bits": RIGHT[:-2] + b"Z=",
    "the pair in the clear": f"Basic coordinator:{PASSWORD}".encode(),
    "beyond ASCII": "Basic ÄÖÜ".encode(),
    "a pair beyond ASCII": basic("coordinator:pässwörd-pässwörd"),
    "no UTF-8": b"Basic \xff\xfe\x80",
    "the digest itself": b"Basic " + hashlib.sha256(RIGHT[6:]).digest(),
    "64 KiB": b"Basic " + b"x" * 65_536,
}


@pytest.mark.parametrize("authorization", WRONG.values(), ids=WRONG.keys())
def test_anything_else_is_wrong(authorization: bytes) -> None:
    assert BOTH.judge(authorization) is Verdict.WRONG


def test_the_other_way_to_write_the_same_bits_is_one() -> None:
    other = WRONG["another way to write the same bits"]
    assert other != RIGHT
    assert base64.b64decode(other[6:]) == base64.b64decode(RIGHT[6:])


@given(st.binary(max_size=80))
@example(b"Basic ")
def test_nothing_made_up_is_right_or_breaks_the_judge(value: bytes) -> None:
    assert BOTH.judge(value) is Verdict.WRONG


@given(st.binary(max_size=80))
def test_no_other_pair_is_right(pair: bytes) -> None:
    if pair not in (f"coordinator:{PASSWORD}".encode(), f"coordinator:{NEXT}".encode()):
        assert BOTH.judge(b"Basic " + base64.b64encode(pair)) is Verdict.WRONG


RIGHT_ONES = {"in force": RIGHT, "next": basic(f"coordinator:{NEXT}")}


@pytest.mark.parametrize("authorization", (WRONG | RIGHT_ONES).values(), ids=(WRONG | RIGHT_ONES).keys())
def test_the_same_work_is_done_whatever_is_wrong(authorization: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    work: list[str] = []
    compare, digest = hmac.compare_digest, credentials._digest

    def compared(one: bytes, other: bytes) -> bool:
        work.append(f"compare {len(one)} with {len(other)}")
        return compare(one, other)

    def digested(pair: bytes) -> bytes:
        work.append("digest")
        return digest(pair)

    under_test = Credentials("coordinator", (PASSWORD, NEXT))
    monkeypatch.setattr(hmac, "compare_digest", compared)
    monkeypatch.setattr(credentials, "_digest", digested)
    under_test.judge(authorization)
    # Digests of one length, over both pairs: no length shows in the time, nor which pair it was.
    assert work == ["digest", "compare 32 with 32", "compare 32 with 32"]


def test_no_text_of_it_shows_a_secret() -> None:
    assert PASSWORD not in repr(BOTH) + str(vars(BOTH))
