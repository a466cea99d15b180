"""HTTP/1.1 requests read from bytes, strictly. Pure: knows no socket and no clock.

A perimeter must not read a request in another way than what stands behind it. So a head is first held against one
grammar, line for line, and only then read by httptools; and every way to say how a body ends is accepted in one
spelling alone. What two readers could read differently is refused, never mended.
"""

import re
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import Callable

    from .wire import Header

HEAD_LIMIT_BYTES = 32 * 1024
LINE_LIMIT_BYTES = 8190
"""As long as a line may be for hermes-agent 0.19.0 (aiohttp)."""
HEADER_LIMIT = 100

_METHODS = rb"(?:GET|POST|HEAD|PUT|PATCH|DELETE|OPTIONS)"
_REQUEST_LINE = _METHODS + rb' /[!-"$-~]* HTTP/1\.1\r\n'
_HEADER_LINE = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n"
_HEAD = re.compile(_REQUEST_LINE + rb"(?:" + _HEADER_LINE + rb")*\r\n")
_LINES = re.compile(_REQUEST_LINE + rb"(?:" + _HEADER_LINE + rb")*")
_LENGTH = re.compile(rb"[0-9]{1,15}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")
_CHUNK_LINE_BYTES = 17
_SAID_ONCE = frozenset((b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"upgrade"))


class RequestRefused(Exception):
    """What arrived is no request that may pass. The words are safe to show; nothing after it is read."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.code = code


class RequestReader:
    """Reads the requests on one connection, one after the other.

    `feed` what arrives; look at `is_head_complete` and `is_complete`; `take` the body; `following` makes ready for the
    next request, of which bytes may be there already. Header names are in lower case; those with `_` are dropped, for
    some servers take them for `-`.
    """

    __slots__ = (
        "_is_said_twice",
        "_parser",
        "_read_body",
        "_remaining",
        "_rest",
        "_said",
        "body_bytes",
        "headers",
        "is_chunked",
        "is_complete",
        "is_head_complete",
        "is_keep_alive",
        "length",
        "method",
        "pieces",
        "target",
        "upgrade",
        "waits_for_continue",
    )

    def __init__(self) -> None:
        self._rest = b""
        self._parser: httptools.HttpRequestParser | None = None
        self._begin()

    def _begin(self) -> None:
        self._read_body: Callable[[], bool] | None = None
        self._remaining = self.body_bytes = 0
        self.method = self.target = b""
        self.headers: list[Header] = []
        self._said: dict[bytes, bytes] = {}
        self._is_said_twice = False
        self.length: int | None = None
        self.is_chunked = self.is_complete = self.is_head_complete = self.waits_for_continue = False
        self.is_keep_alive = True
        self.upgrade: bytes | None = None
        self.pieces: list[bytes] = []

    @property
    def is_begun(self) -> bool:
        """Whether any byte of a request is there."""
        return self.is_head_complete or bool(self._rest)

    @property
    def waiting_bytes(self) -> int:
        """How much stands behind what was read: of a request that came before its turn."""
        return len(self._rest)

    def feed(self, data: bytes) -> None:
        """Take what arrived.

        Raises:
            RequestRefused: it is no request that may pass.
        """
        self._rest = self._rest + data if self._rest else data
        if not self.is_complete:
            self.read()

    def read(self) -> None:
        """Read on in what has arrived.

        Raises:
            RequestRefused: it is no request that may pass.
        """
        if not self.is_head_complete:
            self._read_head()
        while self._read_body is not None and self._rest and self._read_body():
            pass

    def following(self) -> None:
        """Make ready for the next request; the one before must be complete."""
        self._begin()

    def remainder(self) -> bytes:
        """The bytes behind a request after which another protocol is spoken."""
        rest, self._rest = self._rest, b""
        return rest

    def take(self) -> bytes:
        """The body bytes that arrived since the last call, in one piece."""
        pieces = self.pieces
        if not pieces:
            return b""
        self.pieces = []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _read_head(self) -> None:
        rest = self._rest
        end = rest.find(b"\r\n\r\n") + 4
        if end == 3:
            _check_beginning(rest)
            return
        head = rest[:end]
        if _HEAD.fullmatch(head) is None:
            raise _why(head)
        if end > LINE_LIMIT_BYTES:
            _check_sizes(head)
        self._rest = rest[end:]
        parser = self._parser
        if parser is None:
            parser = self._parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._parser = None  # it would read no further; whether we do is decided by `_frame`
        except httptools.HttpParserError as error:
            raise _malformed("two readers of this request differ about its head") from error
        if not self.is_head_complete:
            raise _malformed("two readers of this request differ about the end of its head")
        self.method = parser.get_method()
        self._frame()
        if b"\t\r\n" in head or b" \r\n" in head:  # llhttp leaves what stands behind a value
            self.headers = [(name, value.rstrip(b" \t")) for name, value in self.headers]
        if b"_" in head:
            self.headers = [header for header in self.headers if b"_" not in header[0]]
        if self.is_chunked:
            self._parser = None  # it waits for a body that is not its part

    # What httptools calls.

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self.headers.append((name, value))
        if name in _SAID_ONCE:
            if name in self._said:
                self._is_said_twice = True
            self._said[name] = value

    def on_headers_complete(self) -> None:
        self.is_head_complete = True
        if self._parser is not None and not self._parser.should_keep_alive():
            self._parser = None  # it would read no further, at `Proxy-Connection: close` too; `_heed` decides

    def _frame(self) -> None:
        """Decide how the body ends, and whether the connection goes on behind it."""
        if self._is_said_twice:
            raise _malformed(f"one of {', '.join(sorted(name.decode() for name in _SAID_ONCE))} is there twice")
        if len(self.headers) > HEADER_LIMIT:
            raise RequestRefused(431, "head_too_large", f"a request may have {HEADER_LIMIT} headers")
        if b"host" not in self._said:
            raise _malformed("Host is not there")
        if len(self._said) > 1:
            self._heed(self._said)
        if self._read_body is None:
            self.is_complete = True

    def _heed(self, said: dict[bytes, bytes]) -> None:
        options: list[bytes] = []
        if (connection := said.get(b"connection")) is not None:
            options = [option.strip(b" \t").lower() for option in connection.split(b",")]
            self.is_keep_alive = b"close" not in options
        length, encoding = said.get(b"content-length"), said.get(b"transfer-encoding")
        if encoding is not None:
            if length is not None:
                raise _malformed("Content-Length and Transfer-Encoding are both there")
            if encoding.lower() != b"chunked":
                raise _malformed("the only Transfer-Encoding taken here is `chunked`")
            self.is_chunked, self._read_body = True, self._read_chunk_size
        elif length is not None:
            if not _LENGTH.fullmatch(length):
                raise _malformed("Content-Length must be one plain number")
            self.length = self._remaining = int(length)
            if self._remaining:
                self._read_body = self._read_sized
        if b"expect" in said or b"upgrade" in said:
            self._heed_offers(said, options)

    def _heed_offers(self, said: dict[bytes, bytes], options: list[bytes]) -> None:
        if (expected := said.get(b"expect")) is not None:
            if expected.lower() != b"100-continue":
                raise RequestRefused(417, "expectation_refused", "the only expectation met here is 100-continue")
            self.waits_for_continue = self._read_body is not None
        if (offered := said.get(b"upgrade")) is not None:
            if offered.lower() != b"websocket" or b"upgrade" not in options or self.method != b"GET":
                raise RequestRefused(400, "upgrade_refused", "no other protocol is spoken here but WebSocket")
            if self._read_body is not None:
                raise RequestRefused(400, "upgrade_refused", "a request with a body cannot offer another protocol")
            self.upgrade = b"websocket"

    # How a body is read on: each step tells whether there may be more to read.

    def _read_sized(self) -> bool:
        piece, self._rest = self._rest[: self._remaining], self._rest[self._remaining :]
        self._remaining -= len(piece)
        self.body_bytes += len(piece)
        self.pieces.append(piece)
        if self._parser is not None:
            self._parser.feed_data(piece)  # so that it is ready for the next head
        if not self._remaining:
            self._end_body()
        return False

    def _read_chunk_size(self) -> bool:
        end = self._rest.find(b"\r\n", 0, _CHUNK_LINE_BYTES)
        size = self._rest[:_CHUNK_LINE_BYTES].removesuffix(b"\r") if end < 0 else self._rest[:end]
        if not _CHUNK_SIZE.fullmatch(size) and (size or end == 0):
            raise _malformed("a chunk's size must be one plain hexadecimal number, without extension")
        if end < 0:
            return False
        self._rest = self._rest[end + 2 :]
        self._remaining = int(size, 16)
        self._read_body = self._read_chunk if self._remaining else self._read_last_line
        return True

    def _read_chunk(self) -> bool:
        piece, self._rest = self._rest[: self._remaining], self._rest[self._remaining :]
        self._remaining -= len(piece)
        self.body_bytes += len(piece)
        self.pieces.append(piece)
        if self._remaining:
            return False
        self._read_body = self._read_chunk_end
        return True

    def _read_chunk_end(self) -> bool:
        if not self._skip_line_end("a chunk is longer than its size"):
            return False
        self._read_body = self._read_chunk_size
        return True

    def _read_last_line(self) -> bool:
        if self._skip_line_end("trailers are not taken here"):
            self._end_body()
        return False

    def _skip_line_end(self, otherwise: str) -> bool:
        if not b"\r\n".startswith(self._rest[:2]):
            raise _malformed(otherwise)
        if len(self._rest) < 2:
            return False
        self._rest = self._rest[2:]
        return True

    def _end_body(self) -> None:
        self._read_body = None
        self.is_complete = True


def _malformed(words: str) -> RequestRefused:
    return RequestRefused(400, "malformed_request", words)


def _check_beginning(rest: bytes) -> None:
    """Refuse a head as soon as it can become none: nobody waits for the rest of a wrong line."""
    if len(rest) > HEAD_LIMIT_BYTES:
        raise RequestRefused(431, "head_too_large", f"a request's head may have {HEAD_LIMIT_BYTES} bytes")
    lines_end = rest.rfind(b"\n") + 1
    if lines_end and _LINES.fullmatch(rest, 0, lines_end) is None:
        raise _why(rest[:lines_end])
    if len(rest) - lines_end > LINE_LIMIT_BYTES:
        raise _line_too_long(is_first=not lines_end)


def _check_sizes(head: bytes) -> None:
    if len(head) > HEAD_LIMIT_BYTES:
        raise RequestRefused(431, "head_too_large", f"a request's head may have {HEAD_LIMIT_BYTES} bytes")
    for number, line in enumerate(head.split(b"\r\n")):
        if len(line) > LINE_LIMIT_BYTES:
            raise _line_too_long(is_first=number == 0)


def _line_too_long(*, is_first: bool) -> RequestRefused:
    if is_first:
        return RequestRefused(414, "target_too_long", f"a request line may have {LINE_LIMIT_BYTES} bytes")
    return RequestRefused(431, "head_too_large", f"a header line may have {LINE_LIMIT_BYTES} bytes")


def _why(head: bytes) -> RequestRefused:
    """What is wrong with a head that is not in the grammar, in words that help whoever sent it."""
    line = head.partition(b"\n")[0].removesuffix(b"\r")
    match line.split(b" "):
        case [method, _, version] if re.fullmatch(rb"HTTP/[0-9]\.[0-9]", version) and version != b"HTTP/1.1":
            return RequestRefused(505, "version_refused", "only HTTP/1.1 is spoken here")
        case [method, _, b"HTTP/1.1"] if re.fullmatch(rb"[A-Z-]{1,24}", method) and not re.fullmatch(_METHODS, method):
            return RequestRefused(405, "method_refused", "this method is not taken here")
        case [_, target, b"HTTP/1.1"] if not target.startswith(b"/"):
            return _malformed("the target must be a path, not a whole URL")
    return _malformed("the head is not in the grammar of HTTP/1.1 (RFC 9112)")
