"""Server-sent events as bytes: a stream cut into frames, a frame read, a frame written. Pure."""

import re

FRAME_LIMIT_BYTES = 16 * 1024 * 1024
KEEPALIVE = b": keepalive\n\n"
DONE = b"data: [DONE]\n\n"

_FRAME_END = re.compile(rb"\r?\n\r?\n")


class FrameTooLong(ValueError):
    """A stream without frame ends is no event stream."""


class FrameSplitter:
    """Cuts a stream into frames without changing a byte: the frames put together are the stream."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, each with its blank line.

        Raises:
            FrameTooLong: more than 16 MiB came without a frame end.
        """
        if not self._rest and data.endswith(b"\n\n") and b"\r" not in data:
            return [piece + b"\n\n" for piece in data.split(b"\n\n")[:-1]]  # whole frames, as nearly every read brings
        data = self._rest + data if self._rest else data
        frames = []
        begin = 0
        for end in _FRAME_END.finditer(data):
            frames.append(data[begin : end.end()])
            begin = end.end()
        self._rest = data[begin:]
        if len(self._rest) > FRAME_LIMIT_BYTES:
            raise FrameTooLong(f"an event of more than {FRAME_LIMIT_BYTES} bytes")
        return frames


def fields(frame: bytes) -> tuple[bytes, bytes]:
    """Event name and data of a frame; both empty in one that holds comments alone."""
    event = b""
    data = []
    for line in frame.splitlines():
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return event, b"\n".join(data)


def frame(data: bytes, *, event: bytes = b"") -> bytes:
    """One frame; `data` holds no line break."""
    return (b"event: %b\ndata: %b\n\n" % (event, data)) if event else b"data: %b\n\n" % data
