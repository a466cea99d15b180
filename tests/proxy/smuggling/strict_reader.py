"""Reads the requests of one connection as RFC 9112 says, and refuses what two readers could read differently.

It is what the proxy is held against, so it is written from the RFC and knows nothing of the proxy. Where the RFC leaves
a choice it refuses: forms of the target other than a path, bare CR or LF, empty lines before a request, obsolete
folding, more than one Content-Length even if they agree, any Transfer-Encoding but one `chunked`, chunk extensions,
trailers, an Upgrade to anything but WebSocket. It has no limits of size: those are no question of reading.
"""

import re
from dataclasses import dataclass
from enum import Enum


class End(Enum):
    """How the reading of a connection's bytes ended."""

    WAITING = "waiting"
    """All bytes are read; the next request has not begun or is not whole."""
    REFUSED = "refused"
    OVER = "over"
    """The last request said that none follows (`Connection: close`), or offered to speak another protocol."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; names of headers in lower case, values without white space around them."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""

    def all(self, name: bytes) -> list[bytes]:
        """Every value of one header."""
        return [value for key, value in self.headers if key == name]

    @property
    def options(self) -> list[bytes]:
        """What `Connection` lists, in lower case (RFC 9110, 7.6.1)."""
        return [option.strip(b" \t").lower() for value in self.all(b"connection") for option in value.split(b",")]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a connection's bytes say.

    Attributes:
        requests: the complete ones, in order.
        end: how it ended behind them.
        why: a refusal's reason.
        begun: the request whose head was read and whose body was not whole, with as much of the body as there was.
        rest: from the first byte behind the complete requests on.
    """

    requests: list[Request]
    end: End
    why: str
    begun: Request | None
    rest: bytes


class _Refused(Exception):
    """The bytes are no request, or could be read as more than one."""


class _NotThere(Exception):
    """The next byte has not come."""


_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2
_REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb") (/[!-\"$-~]*) HTTP/1\.1")  # 3; of the target's forms only 3.2.1
_NAME = re.compile(_TOKEN)
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5
_DIGITS = re.compile(rb"[0-9]+")  # RFC 9110, 8.6
_HEX_DIGITS = re.compile(rb"[0-9A-Fa-f]+")  # 7.1
_SIZE_DIGITS = 16
"""More would overflow 64 bits, which some readers would notice and some would not."""


def read(data: bytes) -> Reading:
    """Read all bytes that one client sent on one connection."""
    return _Reader(data).read()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._begun: Request | None = None

    def read(self) -> Reading:
        requests: list[Request] = []
        whole = 0
        end, why = End.WAITING, ""
        try:
            while end is End.WAITING:
                requests.append(self._request())
                whole, self._begun = self._at, None
                if b"close" in requests[-1].options or requests[-1].all(b"upgrade"):
                    end = End.OVER
        except _Refused as refused:
            end, why = End.REFUSED, str(refused)
        except _NotThere:
            pass
        return Reading(requests, end, why, self._begun, self._data[whole:])

    def _request(self) -> Request:
        head = self._head()
        self._begun = head
        length = _body_length(head)
        _check_offers(head, has_body=length != 0)
        body = self._chunks(head) if length is None else self._body(head, length)
        return _with_body(head, body)

    def _head(self) -> Request:
        line = self._line()
        if (matched := _REQUEST_LINE.fullmatch(line)) is None:
            raise _Refused(f"no request line: {line!r}")
        headers = []
        while line := self._line():
            name, colon, value = line.partition(b":")
            value = value.strip(b" \t")
            if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
                raise _Refused(f"no header line: {line!r}")
            headers.append((name.lower(), value))
        request = Request(matched[1], matched[2], tuple(headers))
        if len(request.all(b"host")) != 1:
            raise _Refused("there must be one Host")  # 3.2
        return request

    def _body(self, head: Request, length: int) -> bytes:
        body = self._data[self._at : self._at + length]
        self._begun = _with_body(head, body)
        if len(body) < length:
            raise _NotThere
        self._at += length
        return body

    def _chunks(self, head: Request) -> bytes:
        body = b""
        while size := self._chunk_size():
            piece = self._data[self._at : self._at + size]
            body += piece
            self._begun = _with_body(head, body)
            if len(piece) < size:
                raise _NotThere
            self._at += size
            if self._line():
                raise _Refused("a chunk is longer than it says")
        if self._line():
            raise _Refused("trailers")
        return body

    def _chunk_size(self) -> int:
        digits = self._line()
        if not _HEX_DIGITS.fullmatch(digits) or len(digits) > _SIZE_DIGITS:
            raise _Refused(f"no plain size of a chunk: {digits!r}")
        return int(digits, 16)

    def _line(self) -> bytes:
        """The next line, without the CRLF at its end."""
        end = self._data.find(b"\n", self._at)
        if end < 0:
            raise _NotThere
        line = self._data[self._at : end]
        if not line.endswith(b"\r"):
            raise _Refused("a line ends in a bare LF")  # 2.2 lets a recipient take it
        self._at = end + 1
        line = line[:-1]
        if b"\r" in line:
            raise _Refused("a bare CR")  # 2.2
        return line


def _body_length(head: Request) -> int | None:
    """The length of a request's body; None where it is chunked (6.3)."""
    encodings, lengths = head.all(b"transfer-encoding"), head.all(b"content-length")
    if encodings and lengths:
        raise _Refused("Transfer-Encoding and Content-Length")
    if encodings:
        if len(encodings) > 1 or encodings[0].lower() != b"chunked":
            raise _Refused(f"Transfer-Encoding: {encodings!r}")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or not _DIGITS.fullmatch(lengths[0]) or len(lengths[0]) > _SIZE_DIGITS:
        raise _Refused(f"Content-Length: {lengths!r}")
    return int(lengths[0])


def _check_offers(head: Request, *, has_body: bool) -> None:
    """Refuse what asks for another way to go on than the next request."""
    if any(value.lower() != b"100-continue" for value in head.all(b"expect")):
        raise _Refused("an expectation that is not 100-continue")  # RFC 9110, 10.1.1
    if offers := head.all(b"upgrade"):
        is_handshake = [offer.lower() for offer in offers] == [b"websocket"] and b"upgrade" in head.options
        if not is_handshake or head.method != b"GET" or has_body:
            raise _Refused("another protocol than WebSocket, or not by its handshake")  # RFC 6455, 4.1


def _with_body(head: Request, body: bytes) -> Request:
    return Request(head.method, head.target, head.headers, body)
