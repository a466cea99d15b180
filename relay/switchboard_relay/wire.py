"""HTTP/1.1 as bytes: requests written, answers read. Pure: knows no socket and no clock."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass

import httptools

from .errors import AnswerInvalid

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

HEAD_LIMIT_BYTES = 64 * 1024
"""Longest head, trailer section or chunk extension that an upstream may send."""

SAFE_METHODS = frozenset((b"GET", b"HEAD", b"OPTIONS"))
HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""The headers that end at each hop (RFC 9110, 7.6.1, and what older clients send), in lower case."""
_BODILESS_STATUS = frozenset((204, 304))


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it goes upstream.

    `headers` are sent as they stand and must hold `Host`, and with a body either `Content-Length` or
    `Transfer-Encoding: chunked`. A `bytes` body can be sent again, an iterator cannot. `is_repeatable` is False for a
    safe method whose answer is taken by who asks, so that a second one is not the same.
    """

    method: bytes
    target: bytes
    headers: Headers
    body: bytes | AsyncIterator[bytes] = b""
    is_repeatable: bool = True

    @property
    def is_safe(self) -> bool:
        """Whether sending it twice does no more than sending it once (RFC 9110, 9.2.1)."""
        return self.method in SAFE_METHODS and isinstance(self.body, bytes) and self.is_repeatable

    @property
    def is_chunked(self) -> bool:
        """Whether its body goes out in chunks, because its length is not known."""
        return not isinstance(self.body, bytes) and any(
            name.lower() == b"transfer-encoding" for name, _ in self.headers
        )

    def head(self) -> bytes:
        """Request line and headers.

        Raises:
            ValueError: a method, target, name or value would end its line early.
        """
        return head(b"%b %b HTTP/1.1" % (self.method, self.target), self.headers)


def head(first_line: bytes, headers: Iterable[Header]) -> bytes:
    """The head of a message.

    Raises:
        ValueError: the first line, a name or a value would end its line early.
    """
    lines = [first_line]
    lines += [name + b": " + value for name, value in headers]
    written = b"\r\n".join(lines)
    breaks = len(lines) - 1
    if written.count(b"\r") != breaks or written.count(b"\n") != breaks or b"\0" in written:
        raise ValueError("a head must not hold CR, LF or NUL")
    return written + b"\r\n\r\n"


def chunk(piece: bytes) -> bytes:
    """One chunk of a chunked body; `piece` is not empty, for an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


LAST_CHUNK = b"0\r\n\r\n"


class AnswerReader:
    """Reads the answers on one connection, one after the other.

    `expect` before each request, `feed` what arrives, `end` when the upstream closes its side. Framing is
    Content-Length, chunked or until-close; anything that two readers could frame differently is refused. 1xx answers
    are skipped, trailers are checked and dropped.
    """

    __slots__ = (
        "_head_bytes",
        "_is_answer_to_head",
        "_is_interim",
        "_is_until_close",
        "_marks",
        "_may_switch",
        "_parser",
        "_refusal",
        "_unmarked_bytes",
        "buffered_bytes",
        "headers",
        "is_complete",
        "is_head_complete",
        "is_reusable",
        "is_switched",
        "pieces",
        "status",
    )

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.expect(b"GET")

    def expect(self, method: bytes, *, may_switch: bool = False) -> None:
        """Make ready for the answer to a request of this method.

        With `may_switch` an answer of 101 is taken: `is_switched` is set, and what follows the head is the one piece.
        """
        if getattr(self, "_is_answer_to_head", False):
            self._parser = httptools.HttpResponseParser(self)  # it still waits for a body that never comes
        self._is_answer_to_head = method == b"HEAD"
        self._is_interim = self._is_until_close = False
        self._refusal: str | None = None
        self._head_bytes = self._unmarked_bytes = self._marks = 0
        self.status = 0
        self.headers: list[Header] = []
        self.pieces: list[bytes] = []
        self.buffered_bytes = 0
        self.is_head_complete = self.is_complete = False
        self.is_reusable = True
        self._may_switch = may_switch
        self.is_switched = False

    def feed(self, data: bytes) -> None:
        """Take what arrived.

        Raises:
            AnswerInvalid: it is no answer that we accept; the connection is of no more use.
        """
        if self.is_complete:
            self.is_reusable = False
            return
        marks = self._marks
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._switch(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            if self._refusal is None and self.is_complete:
                self.is_reusable = False
                return
            raise AnswerInvalid(self._refusal or f"not an HTTP/1.1 answer: {error}") from error
        if self._refusal is not None:
            raise AnswerInvalid(self._refusal)
        if marks == self._marks:
            self._unmarked_bytes += len(data)
            if self._unmarked_bytes > HEAD_LIMIT_BYTES:
                raise AnswerInvalid(f"head, trailers or chunk extension of more than {HEAD_LIMIT_BYTES} bytes")
        else:
            self._unmarked_bytes = 0

    def _switch(self, rest: bytes) -> None:
        if not self._may_switch or self._refusal is not None:
            raise AnswerInvalid(self._refusal or "the upstream switched protocols unasked")
        self.is_switched, self.is_reusable = True, False
        self.pieces = [rest] if rest else []

    def end(self) -> bool:
        """The upstream closed its side: whether the answer is complete now."""
        if self._is_until_close:
            self.is_complete = True
        self.is_reusable = False
        return self.is_complete

    def take(self) -> bytes:
        """The body bytes that arrived since the last call, in one piece."""
        pieces, self.pieces, self.buffered_bytes = self.pieces, [], 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.is_complete:
            self.is_reusable = False

    def on_status(self, reason: bytes) -> None:
        self._head_bytes += len(reason)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_LIMIT_BYTES:
            self._refusal = f"head or trailers of more than {HEAD_LIMIT_BYTES} bytes"
        elif not self.is_head_complete:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self.is_complete:
            return
        self._marks += 1
        self._head_bytes = 0
        status = self._parser.get_status_code()
        if status < 100:
            self._refusal = f"a status of {status:03}"
            return
        if status < 200:
            self._is_interim = True
            if status == 101 and self._may_switch:
                self.status = status
            else:
                self.headers.clear()
            return
        self._is_interim = False
        self._refusal = self._refusal or self._frame(status)
        if self._refusal is not None:
            return
        self.status = status
        self.is_head_complete = True
        if self._is_answer_to_head:
            self.is_reusable = self._parser.should_keep_alive()
            self.is_complete = True

    def _frame(self, status: int) -> str | None:
        """Decide how the body ends, or say why that cannot be told."""
        version = self._parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return f"HTTP/{version} is not spoken here"
        encoding, has_length = None, False
        for name, value in self.headers:
            name = name.lower()
            if name == b"content-length":
                has_length = True
            elif name == b"transfer-encoding":
                if encoding is not None or value.lower() != b"chunked" or version == "1.0":
                    return "a Transfer-Encoding other than one `chunked`"
                encoding = value
        is_bodiless = self._is_answer_to_head or status in _BODILESS_STATUS
        self._is_until_close = not (has_length or encoding or is_bodiless)
        return None

    def on_body(self, body: bytes) -> None:
        if self.is_complete:
            self.is_reusable = False
            return
        self._marks += 1
        self.pieces.append(body)
        self.buffered_bytes += len(body)

    def on_message_complete(self) -> None:
        if self._is_interim or self.is_complete or not self.is_head_complete or self._refusal is not None:
            return
        self._marks += 1
        self.is_reusable = self.is_reusable and self._parser.should_keep_alive()
        self.is_complete = True
