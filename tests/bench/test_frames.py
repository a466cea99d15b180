import json
from array import array

import pytest

from bench.frames import END, Arrivals, Broken, at_share, chunk

ENDED = b"0\r\n\r\n"


def arrivals() -> tuple[Arrivals, "array[int]"]:
    late_ns = array("q")
    return Arrivals(late_ns), late_ns


def chunked_anew(*chunks: bytes, size: int) -> bytes:
    """The same text in chunks of `size` bytes."""
    text = b"".join(one.partition(b"\r\n")[2][:-2] for one in chunks)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return b"".join(b"%X;by=hop\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def test_a_frame_is_an_event_of_250_bytes_with_a_completion_chunk_in_it() -> None:
    size, _, text = chunk(7, 12, 99).partition(b"\r\n")
    assert int(size, 16) == 250 == len(text.removesuffix(b"\r\n"))
    data = json.loads(text.strip().removeprefix(b"data: "))
    assert data["object"] == "chat.completion.chunk"
    assert data["choices"][0]["delta"]["content"].startswith("000007 000012 ")


@pytest.mark.parametrize("step", [1, 2, 7, 100, 257, 258, 600, 10_000])
def test_frames_are_found_however_the_bytes_come(step: int) -> None:
    found, late_ns = arrivals()
    data = b"".join(chunk(3, number, 1000) for number in range(5)) + END
    for at in range(0, len(data), step):
        found.feed(data[at : at + step], 1000 + at)
    assert (found.stream, found.frames, found.is_ended) == (3, 5, True)
    assert list(late_ns) == sorted(late_ns)
    assert late_ns[-1] <= len(data)


@pytest.mark.parametrize("size", [1, 100, 250, 251, 499, 5000])
def test_a_hop_may_cut_the_chunks_anew(size: int) -> None:
    found, _ = arrivals()
    found.feed(chunked_anew(*(chunk(0, number, 0) for number in range(4)), size=size) + END, 1)
    assert (found.frames, found.is_ended) == (4, True)


def test_a_frame_has_arrived_with_its_last_byte() -> None:
    found, late_ns = arrivals()
    whole = chunk(0, 0, 1_000)
    found.feed(whole[:-3], 2_000)
    assert found.frames == 0
    found.feed(whole[-3:], 5_000)
    assert list(late_ns) == [4_000]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (chunk(0, 0, 0) + chunk(0, 2, 0), "frame 2 came where 1 was due"),
        (chunk(0, 0, 0) + chunk(0, 0, 0), "frame 0 came where 1 was due"),
        (chunk(0, 1, 0), "frame 1 came where 0 was due"),
        (chunk(0, 0, 0) + chunk(1, 1, 0), "stream 0 got a frame of stream 1"),
        (chunk(0, 0, 0).replace(b"hermes", b"HERMES"), "altered"),
        (chunk(0, 0, 0).replace(b"}]}", b"}]]"), "altered"),
        (chunk(0, 0, 0)[:-1] + b"x", "altered"),
        (chunked_anew(chunk(0, 0, 0), size=249) + END, ""),
        (chunk(0, 0, 0) + b"e\r\n: still here\n\n\r\n" + END, ""),
        (b"5\r\ndata:\r\n" + ENDED, "within a frame"),
        (ENDED, "without its end mark"),
        (END.replace(b"[DONE]", b"[ENDE]"), "altered"),
        (END + b"x", "behind the end"),
        (b"HTTP/1.1 200 OK\r\n", "no chunk"),
    ],
)
def test_what_is_lost_repeated_mixed_up_or_altered_is_found(data: bytes, words: str) -> None:
    found, _ = arrivals()
    if words:
        with pytest.raises(Broken, match=words):
            found.feed(data, 0)
    else:
        found.feed(data, 0)
        assert found.frames == 1


def test_a_share_is_the_lateness_that_so_many_frames_do_not_exceed() -> None:
    late_ns = array("q", [number * 1_000_000 for number in range(100, 0, -1)])
    assert (at_share(late_ns, 0.5), at_share(late_ns, 0.99), at_share(late_ns, 1.0)) == (50, 99, 100)
    assert at_share(array("q"), 0.99) == 0
