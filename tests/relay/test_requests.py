"""Requests are read strictly, however they are cut, and as h11 reads them."""

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_relay.requests import HEAD_LIMIT_BYTES, HEADER_LIMIT, LINE_LIMIT_BYTES, RequestReader, RequestRefused

GET = b"GET /a?b=c HTTP/1.1\r\nHost: nas:9121\r\nX-A:  one \t\r\nx-a: two\r\n\r\n"
SIZED = b"POST /b HTTP/1.1\r\nHost: nas:9121\r\nContent-Length: 5\r\n\r\nhello"
CHUNKS = b"5\r\nhello\r\n0A\r\n0123456789\r\n0\r\n\r\n"
CHUNKED = b"PUT /c HTTP/1.1\r\nHost: nas:9121\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
Read = tuple[bytes, bytes, list[tuple[bytes, bytes]], bytes]


def read_all(*pieces: bytes) -> list[Read]:
    """Every request in these pieces, read as a connection would."""
    reader, read, body = RequestReader(), [], b""
    for piece in pieces:
        reader.feed(piece)
        while True:
            body += reader.take()
            if not reader.is_complete:
                break
            read.append((reader.method, reader.target, [*reader.headers], body))
            body = b""
            reader.following()
            reader.read()
    return read


def as_h11_reads(data: bytes) -> list[Read]:
    connection, read = h11.Connection(h11.SERVER), []
    connection.receive_data(data)
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            method, target, headers, body = event.method, event.target, [*event.headers], b""
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            read.append((method, target, headers, body))
            connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            connection.send(h11.EndOfMessage())
            if connection.states[h11.CLIENT] is not h11.DONE:
                return read
            connection.start_next_cycle()
        else:
            return read


def test_a_head_is_read_with_its_headers_in_order_and_lower_case() -> None:
    [(method, target, headers, body)] = read_all(GET)
    assert (method, target, body) == (b"GET", b"/a?b=c", b"")
    assert headers == [(b"host", b"nas:9121"), (b"x-a", b"one"), (b"x-a", b"two")]


def test_bodies_of_either_framing_are_read_to_their_end_and_no_further() -> None:
    assert [(target, body) for _, target, _, body in read_all(SIZED + CHUNKED + GET + SIZED)] == [
        *((b"/b", b"hello"), (b"/c", b"hello0123456789"), (b"/a?b=c", b""), (b"/b", b"hello"))
    ]


@given(st.lists(st.sampled_from([GET, SIZED, CHUNKED]), min_size=1, max_size=5), st.data())
def test_cut_anywhere_they_are_read_the_same_and_as_h11_reads_them(requests: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(requests)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read_all(*pieces) == as_h11_reads(stream)


def test_a_byte_at_a_time_too() -> None:
    stream = GET + CHUNKED + SIZED
    assert read_all(*(stream[n : n + 1] for n in range(len(stream)))) == read_all(stream)


FRAMING = (b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"host")
NAMES = st.from_regex(rb"\A[!#-'*+\-.^_`|~0-9A-Za-z]{1,12}\Z").filter(lambda name: name.lower() not in FRAMING)
VALUES = st.from_regex(rb"\A[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]{0,20}[\x21-\x7e\x80-\xff])?\Z")


@given(st.from_regex(rb'\A/[!-"$-~]{0,30}\Z'), st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_what_is_accepted_is_what_h11_reads_but_for_names_with_an_underscore(
    target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    lines = [b"GET %b HTTP/1.1" % target, b"Host: nas", *(b"%b: %b" % header for header in headers), b"", b""]
    [mine], [theirs] = read_all(b"\r\n".join(lines)), as_h11_reads(b"\r\n".join(lines))
    assert mine[:2] == theirs[:2]
    assert mine[2] == [header for header in theirs[2] if b"_" not in header[0]]


HOST = b"Host: nas\r\n"
REFUSED: dict[str, tuple[bytes, int, str]] = {
    "HTTP/0.9": (b"GET /\r\n", 400, "malformed_request"),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n" + HOST, 505, "version_refused"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_refused"),
    "TRACE": (b"TRACE / HTTP/1.1\r\n" + HOST, 405, "method_refused"),
    "CONNECT": (b"CONNECT nas:1 HTTP/1.1\r\n" + HOST, 405, "method_refused"),
    "a method in lower case": (b"get / HTTP/1.1\r\n" + HOST, 400, "malformed_request"),
    "a whole URL": (b"GET http://nas/ HTTP/1.1\r\n" + HOST, 400, "malformed_request"),
    "a star": (b"OPTIONS * HTTP/1.1\r\n" + HOST, 400, "malformed_request"),
    "a fragment": (b"GET /#a HTTP/1.1\r\n" + HOST, 400, "malformed_request"),
    "two blanks": (b"GET  / HTTP/1.1\r\n" + HOST, 400, "malformed_request"),
    "bare LF": (b"GET / HTTP/1.1\nHost: nas\n", 400, "malformed_request"),
    "bare CR": (b"GET / HTTP/1.1\r\nA: b\rc\r\n", 400, "malformed_request"),
    "NUL": (b"GET / HTTP/1.1\r\nA: b\0\r\n", 400, "malformed_request"),
    "folded": (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n", 400, "malformed_request"),
    "a blank before the colon": (b"GET / HTTP/1.1\r\nA : b\r\n", 400, "malformed_request"),
    "no name": (b"GET / HTTP/1.1\r\n: b\r\n", 400, "malformed_request"),
    "no colon": (b"GET / HTTP/1.1\r\nabc\r\n", 400, "malformed_request"),
    "an empty line first": (b"\r\nGET / HTTP/1.1\r\n" + HOST, 400, "malformed_request"),
    "an endless line": (b"GET /" + b"a" * LINE_LIMIT_BYTES, 414, "target_too_long"),
    "an endless header": (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * LINE_LIMIT_BYTES, 431, "head_too_large"),
    "an endless head": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (HEAD_LIMIT_BYTES // 6), 431, "head_too_large"),
    "too many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * HEADER_LIMIT + HOST + b"\r\n", 431, "head_too_large"),
    "another expectation": (b"POST / HTTP/1.1\r\n" + HOST + b"Expect: more\r\n\r\n", 417, "expectation_refused"),
    "h2c": (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400, "upgrade_refused"),
    "no offer in Connection": (b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\n\r\n", 400, "upgrade_refused"),
}


@pytest.mark.parametrize(("data", "status", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_request_is_refused_as_soon_as_it_can_be_seen(data: bytes, status: int, code: str) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_all(data)
    assert (refused.value.status, refused.value.code) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"5;ext=1\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
        ),
        *(b"5 \r\nhello\r\n0\r\n\r\n", b"5\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n"),
        *(b"\r\n", b"g\r\n", b"1" * 17, b"0\r\nTrailer: x\r\n\r\n", b"0\r\n\n", b"-1\r\n", b"1_0\r\n"),
    ],
)
def test_a_chunked_body_is_framed_in_one_spelling(body: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: nas\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(RequestRefused) as refused:
        read_all(head + body)
    assert refused.value.status == 400
    with pytest.raises(RequestRefused):
        read_all(head, *(body[n : n + 1] for n in range(len(body))))


def test_what_stands_behind_a_request_waits_for_its_turn() -> None:
    reader = RequestReader()
    reader.feed(GET + SIZED)
    assert (reader.is_complete, reader.waiting_bytes) == (True, len(SIZED))
    assert reader.remainder() == SIZED


@pytest.mark.parametrize(
    ("connection", "stays"), [(b"close", False), (b"Close, x", False), (b"keep-alive", True), (b"x, y", True)]
)
def test_the_connection_stays_unless_the_client_says_otherwise(connection: bytes, stays: bool) -> None:
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.1\r\nHost: nas\r\nConnection: %b\r\n\r\n" % connection)
    assert reader.is_keep_alive is stays
