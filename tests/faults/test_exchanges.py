"""Bytes of one connection, read as requests and answers."""

from doubles.faulty import Crossing, Direction

from .exchanges import Exchange, exchanges

ASKED = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /y HTTP/1.1\r\nHost: a\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Switchboard-Peer: nas\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
REFUSAL = b"HTTP/1.1 429 X\r\nContent-Length: 4\r\n\r\nbusy"


def read(asked: bytes, answered: bytes, *, is_over: bool = True, arrivals: tuple[int, ...] = (0,)) -> list[Exchange]:
    """The exchanges of a connection; the piece behind `n` bytes came at second `n`."""
    return list(
        exchanges(
            Crossing(
                Direction(came=asked, arrivals=[(begin, float(begin)) for begin in arrivals]),
                Direction(crossed=answered),
                is_over=is_over,
            )
        )
    )


def test_several_requests_of_one_connection_have_their_own_answers() -> None:
    first, second, third = read(ASKED + GET + ASKED, STREAM + REFUSAL, arrivals=(0, len(ASKED), len(ASKED + GET)))
    assert (first.method, first.path, first.body) == ("POST", "/x", b"hello")
    assert (first.status, first.answer, first.is_answer_whole) == (200, b"hi", True)
    assert first.headers["x-switchboard-peer"] == "nas"
    assert (second.method, second.status, second.answer, second.is_answer_whole) == ("GET", 429, b"busy", True)
    assert (third.status, third.answer, third.is_answer_whole) == (None, b"", False)
    assert [each.at for each in (first, second, third)] == [0.0, len(ASKED), len(ASKED + GET)]


def test_what_broke_off_is_there_as_far_as_it_came() -> None:
    for size in range(len(STREAM)):
        [one] = read(ASKED, STREAM[:size])
        assert one.body == b"hello"
        assert not one.is_answer_whole
        assert one.status == (200 if b"\r\n\r\n" in STREAM[:size] else None)
        assert b"hi".startswith(one.answer)
    [one] = read(ASKED, STREAM[:-7], is_over=False)
    assert (one.status, one.answer) == (200, b"hi")
    [one] = read(ASKED[:-2], b"")
    assert (one.body, one.status) == (b"hel", None)
    assert read(ASKED[:20], b"") == []
    assert read(b"", b"") == []
