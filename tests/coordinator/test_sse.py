"""Event streams cut into frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator import sse
from switchboard_coordinator.sse import FrameSplitter, FrameTooLong

LINES = st.sampled_from([b"data: x", b": keepalive", b"event: hermes.tool.progress", b"data: {}", b"id: 7", b""])
ENDS = st.sampled_from([b"\n", b"\r\n"])


@given(st.lists(st.tuples(LINES, ENDS)), st.data())
def test_frames_put_together_are_the_stream_however_it_is_cut(
    lines: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    stream = b"".join(line + end for line, end in lines) + b"data: end\n\n"
    splitter = FrameSplitter()
    frames: list[bytes] = []
    rest = stream
    while rest:
        cut = data.draw(st.integers(1, len(rest)))
        frames += splitter.feed(rest[:cut])
        rest = rest[cut:]
    assert b"".join(frames) == stream
    assert frames[-1].endswith(b"data: end\n\n")


def test_a_frame_is_given_only_when_its_blank_line_is_there() -> None:
    splitter = FrameSplitter()
    assert splitter.feed(b"data: a\n") == []
    assert splitter.feed(b"\ndata: b") == [b"data: a\n\n"]
    assert splitter.feed(b"\r\n\r\n: c\n\n") == [b"data: b\r\n\r\n", b": c\n\n"]


def test_a_stream_without_frame_ends_is_refused_before_it_fills_the_memory() -> None:
    splitter = FrameSplitter()
    splitter.feed(b"x" * 16 * 1024 * 1024)
    with pytest.raises(FrameTooLong, match="16777216 bytes"):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("frame", "event", "data"),
    [
        (b"data: [DONE]\n\n", b"", b"[DONE]"),
        (b"event: hermes.tool.progress\ndata: {}\n\n", b"hermes.tool.progress", b"{}"),
        (b"data:tight\r\n\r\n", b"", b"tight"),
        (b"data: two\ndata: lines\n\n", b"", b"two\nlines"),
        (b": comment\n\n", b"", b""),
        (b"id: 1\nretry: 5\n\n", b"", b""),
    ],
)
def test_a_frame_is_read_as_the_standard_says(frame: bytes, event: bytes, data: bytes) -> None:
    assert sse.fields(frame) == (event, data)


def test_what_is_written_is_read_back() -> None:
    assert sse.fields(sse.frame(b"{}", event=b"e")) == (b"e", b"{}")
    assert sse.fields(sse.frame(b"{}")) == (b"", b"{}")
