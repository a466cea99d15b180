"""The frames of a measured stream, and what is held against them when they arrive. Pure.

A frame is an SSE event of the size and shape that hermes-agent 0.19.0 sends, in one HTTP chunk. Its text carries the
number of its stream, its own number, and when it was sent, so that the reader finds what is lost, reordered, altered
or from another stream, and how late each one is.
"""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from array import array

_FRAME_BYTES = 250
_BEFORE = (
    b'data: {"id":"chatcmpl-2d0b2df32658485c8ca114a838190","object":"chat.completion.chunk","created":1795394476,'
    b'"model":"hermes-agent","choices":[{"index":0,"delta":{"content":"'
)
_AFTER = b'"},"finish_reason":null}]}\n\n'
_NUMBERS = b"%06d %06d %019d"
_NUMBERS_BYTES = len(_NUMBERS % (0, 0, 0))
_PADDING = b"." * (_FRAME_BYTES - len(_BEFORE) - len(_AFTER) - _NUMBERS_BYTES)
_REST = _PADDING + _AFTER
_OPEN = b"%x\r\n" % _FRAME_BYTES + _BEFORE
_CLOSE = _REST + b"\r\n"
_NUMBERS_AT = len(_OPEN)
_CLOSE_AT = _NUMBERS_AT + _NUMBERS_BYTES
CHUNK_BYTES = _CLOSE_AT + len(_CLOSE)
_WHOLE = _OPEN + _NUMBERS + _CLOSE

_ENDING = (
    _BEFORE.partition(b'{"content"')[0]
    + b'{},"finish_reason":"stop"}],"usage":{"prompt_tokens":911,"completion_tokens":3,"total_tokens":914}}\n\n'
    + b"data: [DONE]\n\n"
)
_STAMP = re.compile(rb"(\d{6}) (\d{6}) (\d{19})")

ROLE = _BEFORE.partition(b'{"content"')[0] + b'{"role":"assistant"},"finish_reason":null}]}\n\n'
"""The frame that an agent sends at once."""
END = b"%x\r\n%b\r\n0\r\n\r\n" % (len(_ENDING), _ENDING)
"""The chunks that end a stream: the finish and the end mark of an agent, then HTTP's own."""


class Broken(Exception):
    """What arrived is not what was sent, in this order; the words say how."""


def chunk(stream: int, number: int, sent_ns: int) -> bytes:
    """One frame as it goes over the wire."""
    return _WHOLE % (stream, number, sent_ns)


class Arrivals:
    """The chunked body of one answer, held against what its source sends; lateness goes into `late_ns`.

    A hop may cut the chunks anew, and put comments between frames; a frame is what counts, and it has arrived with its
    last byte.
    """

    def __init__(self, late_ns: "array[int]") -> None:
        self.stream: int | None = None
        self.frames = 0
        self._late_ns = late_ns
        self._body = Unchunked()
        self._text = b""  # part of a frame

    @property
    def is_ended(self) -> bool:
        """Whether the body is whole, and so was its stream."""
        return self._body.is_ended

    def feed(self, data: bytes, now_ns: int) -> None:
        """Take what was read; raises Broken."""
        if not self._text and self._body.is_between:
            at, size = 0, len(data)
            while size - at >= CHUNK_BYTES and data.startswith(_OPEN, at):  # as it was sent: nearly always
                self._take(data, at + _NUMBERS_AT, at + _CLOSE_AT, now_ns)
                at += CHUNK_BYTES
                if not data.startswith(_CLOSE, at - len(_CLOSE)):
                    raise Broken(f"frame {self.frames - 1} was altered")
            data = data[at:]
        if data:
            self._text += self._body.feed(data)
            while self._text and self._take_text(now_ns):
                pass
        if self.is_ended and self._text != _ENDING:
            raise Broken("the stream ended within a frame" if self._text else "the stream ended without its end mark")

    def _take_text(self, now_ns: int) -> bool:
        """Take what stands first in the text; whether it was there whole, and no end."""
        if self._text.startswith(b":"):
            _, found, after = self._text.partition(b"\n\n")
            self._text = after if found else self._text
            return bool(found)
        if self._text.startswith(_BEFORE) and len(self._text) >= _FRAME_BYTES:
            frame, self._text = self._text[:_FRAME_BYTES], self._text[_FRAME_BYTES:]
            numbers_end = len(_BEFORE) + _NUMBERS_BYTES
            if frame[numbers_end:] != _REST:
                raise Broken(f"frame {self.frames} was altered: {frame[-60:]!r}")
            self._take(frame, len(_BEFORE), numbers_end, now_ns)
            return True
        if not (self._text.startswith(_BEFORE) or _BEFORE.startswith(self._text) or _ENDING.startswith(self._text)):
            raise Broken(f"frame {self.frames} was altered: {self._text[:60]!r}")
        return False

    def _take(self, data: bytes, start: int, end: int, now_ns: int) -> None:
        stream, number, sent_ns = map(int, data[start:end].split(b" "))
        if stream != self.stream:
            if self.stream is not None:
                raise Broken(f"stream {self.stream} got a frame of stream {stream}")
            self.stream = stream
        if number != self.frames:
            raise Broken(f"frame {number} came where {self.frames} was due")
        self.frames += 1
        self._late_ns.append(now_ns - sent_ns)


class Unchunked:
    """The body of one answer without its chunks."""

    def __init__(self) -> None:
        self.is_ended = False
        self._raw = b""  # part of a line
        self._left = 0  # bytes missing from the chunk that has begun, its CRLF included

    @property
    def is_between(self) -> bool:
        """Whether everything that was fed was whole chunks."""
        return not (self._raw or self._left)

    def feed(self, data: bytes) -> bytes:
        """The text in `data`; raises Broken."""
        data, self._raw = self._raw + data, b""
        text = []
        while data and not self.is_ended:
            if self._left:
                text.append(data[: min(len(data), max(0, self._left - len(b"\r\n")))])
                taken = min(len(data), self._left)
                self._left -= taken
                data = data[taken:]
                continue
            line, found, after = data.partition(b"\r\n")
            if not found:
                self._raw = data
                break
            try:
                size = int(line.partition(b";")[0], 16)
            except ValueError:
                raise Broken(f"no chunk begins like this: {line[:60]!r}") from None
            if size == 0:
                if len(after) < len(b"\r\n"):
                    self._raw = data
                    break
                self.is_ended = True
                data = after[len(b"\r\n") :]
            else:
                self._left, data = size + len(b"\r\n"), after
        if self.is_ended and data:
            raise Broken("bytes came behind the end of the stream")
        return b"".join(text)


def stamps(text: bytes) -> list[tuple[int, int, int]]:
    """Of every frame's text in here, whatever stands around it: stream, number, when it was sent."""
    return [(int(stream), int(number), int(sent_ns)) for stream, number, sent_ns in _STAMP.findall(text)]


def at_share(late_ns: "array[int]", share: float) -> float:
    """The lateness in ms that `share` of the frames do not exceed (nearest rank); 0 where there is no frame."""
    ordered = sorted(late_ns)
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1] / 1e6 if ordered else 0.0
