"""The oracle itself, held to the words of RFC 9112."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from .strict_reader import End, Reading, Request, read

HOST = b"Host: a\r\n"
GOOD = b"GET /a?b=c HTTP/1.1\r\n" + HOST + b"\r\n"


def posted(*lines: bytes, body: bytes = b"") -> bytes:
    return b"POST /a HTTP/1.1\r\n" + HOST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


CHUNKED = b"Transfer-Encoding: chunked"


def bodies(reading: Reading) -> list[bytes]:
    return [request.body for request in reading.requests]


def test_requests_are_read_in_order() -> None:
    reading = read(GOOD + posted(b"Content-Length: 3", body=b"abc") + GOOD)
    assert [(request.method, request.target, request.body) for request in reading.requests] == [
        (b"GET", b"/a?b=c", b""),
        (b"POST", b"/a", b"abc"),
        (b"GET", b"/a?b=c", b""),
    ]
    assert (reading.end, reading.begun, reading.rest) == (End.WAITING, None, b"")


def test_chunks_are_joined() -> None:
    reading = read(posted(CHUNKED, body=b"3\r\nabc\r\n0A\r\n0123456789\r\n000\r\n\r\n") + GOOD)
    assert bodies(reading) == [b"abc0123456789", b""]


def test_white_space_around_a_value_is_no_part_of_it() -> None:
    reading = read(posted(b"Content-Length: \t3 \t", b"Empty:", b"TRANSFER: x", body=b"abc"))
    assert reading.requests[0].headers[1:] == ((b"content-length", b"3"), (b"empty", b""), (b"transfer", b"x"))


@pytest.mark.parametrize("line", [b"Connection: close", b"Connection: x, Close", b"connection: upgrade, close"])
def test_nothing_is_read_behind_the_last_request(line: bytes) -> None:
    reading = read(posted(line) + GOOD)
    assert (len(reading.requests), reading.end, reading.rest) == (1, End.OVER, GOOD)


def test_nothing_is_read_behind_the_offer_of_another_protocol() -> None:
    offer = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    reading = read(offer + GOOD)
    assert (len(reading.requests), reading.end) == (1, End.OVER)


def test_a_body_that_is_not_whole_is_begun() -> None:
    for data in (posted(b"Content-Length: 5", body=b"abc"), posted(CHUNKED, body=b"5\r\nabc")):
        reading = read(GOOD + data)
        assert (len(reading.requests), reading.end, reading.rest) == (1, End.WAITING, data)
        assert reading.begun is not None
        assert (reading.begun.method, reading.begun.body) == (b"POST", b"abc")


def test_what_was_read_of_a_body_is_told_when_the_rest_is_refused() -> None:
    reading = read(posted(CHUNKED, body=b"3\r\nabc\r\nx\r\n"))
    assert (reading.end, reading.requests) == (End.REFUSED, [])
    assert reading.begun is not None
    assert reading.begun.body == b"abc"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" + GOOD,
        b"GET /\r\n",
        b"GET / HTTP/1.0\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.2\r\n" + HOST + b"\r\n",
        b"GET / http/1.1\r\n" + HOST + b"\r\n",
        b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET\t/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n",
        b"GET http://a/ HTTP/1.1\r\n" + HOST + b"\r\n",
        b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\0 HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GE(T / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        posted(b"No colon"),
        posted(b": empty name"),
        posted(b"Name : x"),
        posted(b" Folded: x"),
        posted(b"A: b", b" c"),
        posted(b"A: b", b"\tc"),
        posted(b"A: \x0bb"),
        posted(b"A: b\0"),
        posted(b"A: b\rc"),
        posted(b"A: b\nC: d"),
        posted(b"A\xe4: b"),
        posted(b"Content-Length: 1", b"Content-Length: 1", body=b"a"),
        posted(b"Content-Length: 1, 1", body=b"a"),
        posted(b"Content-Length: +1", body=b"a"),
        posted(b"Content-Length: -1", body=b"a"),
        posted(b"Content-Length: 1 1", body=b"a"),
        posted(b"Content-Length: 0x1", body=b"a"),
        posted(b"Content-Length: 1_0", body=b"a"),
        posted(b"Content-Length:", body=b"a"),
        posted(b"Content-Length: \xb2", body=b"a"),
        posted(b"Content-Length: 18446744073709551617", body=b"a"),
        posted(b"Content-Length: 1", CHUNKED, body=b"0\r\n\r\n"),
        posted(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
        posted(b"Transfer-Encoding: x, chunked", body=b"0\r\n\r\n"),
        posted(b"Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n"),
        posted(b"Transfer-Encoding: identity"),
        posted(b"Transfer-Encoding: xchunked"),
        posted(b"Transfer-Encoding:"),
        posted(b"Transfer-Encoding: \x0bchunked"),
        posted(CHUNKED, body=b"1;a=b\r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"1 \r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"+1\r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"0x1\r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"1_0\r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"10000000000000001\r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"\r\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"1\nx\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"1\r\nx\n0\r\n\r\n"),
        posted(CHUNKED, body=b"1\r\nxy\r\n0\r\n\r\n"),
        posted(CHUNKED, body=b"0\r\nA: b\r\n\r\n"),
        posted(CHUNKED, body=b"0\r\n\n"),
        posted(b"Expect: 200-ok"),
        posted(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
        posted(b"Connection: Upgrade", b"Upgrade: websocket"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    reading = read(data + GOOD)
    assert (reading.end, reading.requests) == (End.REFUSED, [])
    assert reading.why


@given(st.lists(st.binary(max_size=40)), st.data())
def test_reading_does_not_depend_on_how_much_has_come(sent: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(posted(CHUNKED, body=chunks(body)) if len(body) % 2 else sized(body) for body in sent)
    came = data.draw(st.integers(0, len(whole)))
    reading = read(whole[:came])
    assert reading.end is End.WAITING
    assert bodies(read(reading.rest + whole[came:])) == sent[len(reading.requests) :]
    assert bodies(reading) == sent[: len(reading.requests)]


def sized(body: bytes) -> bytes:
    return posted(b"Content-Length: %d" % len(body), body=body)


def chunks(body: bytes) -> bytes:
    return b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"


@given(st.binary(max_size=200))
def test_noise_is_never_more_than_refused(noise: bytes) -> None:
    assert read(noise).requests == []


def test_an_underscore_is_a_character_like_another() -> None:
    assert read(posted(b"Content_Length: 3")).requests == [
        Request(b"POST", b"/a", ((b"host", b"a"), (b"content_length", b"3")))
    ]
