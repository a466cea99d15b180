"""HTTP/1.1 as bytes, with h11 as the oracle."""

from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from switchboard_relay.errors import AnswerInvalid
from switchboard_relay.wire import LAST_CHUNK, AnswerReader, Request, chunk

MANY = settings(max_examples=200)

TOKEN = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=12).map(lambda text: f"x-{text}".encode())
VALUE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30).map(str.encode)
HEADERS = st.lists(st.tuples(TOKEN, VALUE), max_size=5)
PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=6)


class Read:
    """What one reader made of a stream of bytes."""

    def __init__(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes, is_complete: bool) -> None:
        self.told = status, [(name.lower(), value) for name, value in headers], body, is_complete

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Read) and self.told == other.told

    def __repr__(self) -> str:
        return repr(self.told)

    __hash__ = None  # type: ignore[assignment]


def ours(parts: Sequence[bytes], method: bytes = b"GET", *, ends: bool) -> Read:
    reader = AnswerReader()
    reader.expect(method)
    body = b""
    for part in parts:
        reader.feed(part)
        body += reader.take()
    is_complete = reader.is_complete or (ends and reader.end())
    return Read(reader.status, reader.headers, body, is_complete)


def theirs(raw: bytes, method: bytes = b"GET", *, ends: bool) -> Read:
    """h11's reading. Raises RemoteProtocolError."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=200_000)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    if ends:
        connection.receive_data(b"")
    status, headers, body = 0, [], b""
    while True:
        event = connection.next_event()
        match event:
            case h11.Response():
                status, headers = event.status_code, [(bytes(name), bytes(value)) for name, value in event.headers]
            case h11.Data():
                body += bytes(event.data)
            case h11.EndOfMessage():
                return Read(status, headers, body, True)
            case h11.NEED_DATA | h11.PAUSED | h11.ConnectionClosed():
                return Read(status, headers, body, False)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[begin:end] for begin, end in pairwise(bounds)]


@st.composite
def answers(draw: st.DrawFn) -> tuple[bytes, bytes, bool]:
    """A well-formed answer, the method that it answers, and whether its end is the connection's."""
    status = draw(st.sampled_from([200, 201, 204, 304, 404, 500]))
    method = draw(st.sampled_from([b"GET", b"POST", b"HEAD"]))
    pieces = draw(PIECES)
    is_bodiless = status in (204, 304) or method == b"HEAD"
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    lines = [b"HTTP/1.1 %d Some Words" % status]
    lines += [b"%b: %b" % header for header in draw(HEADERS)]
    body = b"".join(pieces)
    if framing == "length" and status != 204:
        lines.append(b"content-length: %d" % len(body))
    elif framing == "chunked" and status != 204:
        lines.append(b"Transfer-Encoding: chunked")
        trailers = b"".join(b"%b: %b\r\n" % header for header in draw(HEADERS))
        body = b"".join(map(chunk, pieces)) + b"0\r\n" + trailers + b"\r\n"
    interim = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 X\r\nlink: y\r\n\r\n"]))
    raw = interim + b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if is_bodiless else body)
    return raw, method, framing == "close" and not is_bodiless


@MANY
@given(answers(), st.lists(st.integers(0, 10_000), max_size=8))
def test_an_answer_is_read_as_h11_reads_it_however_it_is_cut(
    answer: tuple[bytes, bytes, bool], places: list[int]
) -> None:
    raw, method, ends = answer
    read = ours(cut(raw, places), method, ends=ends)
    assert read == theirs(raw, method, ends=ends)
    assert read.told[3]


@MANY
@given(answers(), st.integers(1, 400))
def test_an_answer_that_was_cut_off_is_never_complete(answer: tuple[bytes, bytes, bool], missing: int) -> None:
    raw, method, ends = answer
    if ends or missing >= len(raw):  # until-close: its end is wherever the connection ends
        return
    reader = AnswerReader()
    reader.expect(method)
    reader.feed(raw[:-missing])
    assert not reader.is_complete
    assert not reader.end()


NOISE = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK\r\n",
                b"HTTP/1.0 200 OK\r\n",
                b"content-length: 3\r\n",
                b"content-length: 4\r\n",
                b"transfer-encoding: chunked\r\n",
                b"transfer-encoding: x, chunked\r\n",
                b"connection: close\r\n",
                b"x: y\r\n",
                b" folded\r\n",
                b"\r\n",
                b"abc",
                b"3\r\nabc\r\n",
                b"0\r\n\r\n",
                b"\n",
                b"\0",
            ]
        ),
        max_size=9,
    ).map(b"".join),
)


@MANY
@given(NOISE)
def test_noise_is_refused_or_read_as_h11_reads_it(raw: bytes) -> None:
    try:
        read = ours([raw], ends=True)
    except AnswerInvalid:
        return
    if not read.told[3]:
        return
    try:
        oracle = theirs(raw, ends=True)
    except h11.RemoteProtocolError:
        return  # h11 is stricter on some syntax; where both accept, they agree
    assert read.told[0] == oracle.told[0]
    assert read.told[2] == oracle.told[2]


@MANY
@given(NOISE, st.sampled_from([b"GET", b"HEAD"]), st.lists(st.integers(0, 200), max_size=8))
def test_noise_is_read_the_same_however_it_is_cut(raw: bytes, method: bytes, places: list[int]) -> None:
    def outcome(parts: list[bytes]) -> Read | None:
        try:
            return ours(parts, method, ends=True)
        except AnswerInvalid:
            return None

    assert outcome(cut(raw, places)) == outcome([raw])


@MANY
@given(st.sampled_from([b"GET", b"POST", b"DELETE"]), HEADERS, PIECES)
def test_a_request_is_written_as_h11_reads_it(
    method: bytes, headers: list[tuple[bytes, bytes]], pieces: list[bytes]
) -> None:
    sent = [(b"host", b"upstream"), *headers, (b"transfer-encoding", b"chunked")]
    raw = Request(method, b"/a?b=c", sent).head() + b"".join(map(chunk, pieces)) + LAST_CHUNK
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(raw)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert (request.method, request.target) == (method, b"/a?b=c")
    assert [(bytes(name), bytes(value)) for name, value in request.headers] == sent
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert body == b"".join(pieces)


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
    ],
)
def test_what_is_no_body_is_refused_beyond_its_limit_however_slowly_it_comes(begin: bytes) -> None:
    reader = AnswerReader()
    reader.feed(begin)
    for _ in range(65):
        reader.feed(b"a" * 1000)
    with pytest.raises(AnswerInvalid, match="65536"):
        reader.feed(b"a" * 1000)


@pytest.mark.parametrize("line", [b"connection: close\r\n", b""])
def test_an_upstream_that_says_close_is_not_used_again(line: bytes) -> None:
    version = b"1.1" if line else b"1.0"
    reader = AnswerReader()
    reader.feed(b"HTTP/%b 200 OK\r\n%bcontent-length: 0\r\n\r\n" % (version, line))
    assert reader.is_complete
    assert not reader.is_reusable


def test_a_request_with_a_body_that_cannot_be_sent_again_is_not_safe() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b""

    assert Request(b"GET", b"/", ()).is_safe
    assert not Request(b"GET", b"/", (), pieces()).is_safe
    assert not Request(b"PUT", b"/", ()).is_safe
