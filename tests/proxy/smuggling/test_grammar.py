"""Cases that hypothesis builds out of good and bad parts, so that a failing one becomes as small as it can."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .experiment import Case, Experiment, Finding
from .fuzz import has_enough_of_both
from .passage import CREDENTIAL, HOST
from .stage import proxy_process


class Running:
    """One proxy for all examples, in a loop that runs while cases are sent."""

    def __init__(self, runner: asyncio.Runner, experiment: Experiment) -> None:
        self._runner = runner
        self.experiment = experiment

    def send(self, cases: Sequence[Case]) -> list[Finding]:
        return self._runner.run(self.experiment.run(cases))


@pytest.fixture
def running() -> Iterator[Running]:
    with asyncio.Runner() as runner:
        stage = proxy_process()
        yield Running(runner, runner.run(stage.__aenter__()))
        runner.run(stage.__aexit__(None, None, None))


# The grammar: each part is good or one of many wrong ones; good ones come first, where hypothesis shrinks to.

_OWN = b"Host: " + HOST + b"\r\nAuthorization: " + CREDENTIAL + b"\r\n"
_BODY = st.binary(max_size=20) | st.sampled_from(
    [b"0\r\n\r\n", b"\r\n\r\n", b"GET /v1/models HTTP/1.1\r\n" + _OWN + b"\r\n"]
)


def _seldom(good: st.SearchStrategy[bytes], wrong: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.integers(0, 14).flatmap(lambda number: wrong if number == 9 else good)


_METHOD = _seldom(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS"]), st.sampled_from([b"TRACE", b"get", b""])
)
_PATH = _seldom(
    st.sampled_from([b"/v1/models", b"/agent/api/jobs", b"/api/upload?a=//..", b"/webui/api/chat", b"/", b"/-/ready"]),
    st.lists(
        st.sampled_from(
            [b"/", b"v1", b"..", b".", b"%2e", b"%2F", b"\\", b"agent", b"a", b"*", b"http:", b"#", b" ", b"\0"]
        ),
        max_size=6,
    ).map(b"".join),
)
_VERSION = _seldom(st.just(b"HTTP/1.1"), st.sampled_from([b"HTTP/1.0", b"HTTP/2.0", b"http/1.1", b"HTTP/1.1 ", b""]))
_END = st.integers(0, 99).map(lambda number: {37: b"\n", 59: b"\r", 73: b"\r\r\n"}.get(number, b"\r\n"))
_HEADER = _seldom(
    st.sampled_from(
        [
            b"A: b",
            b"A:",
            b"A_B: c",
            b"TE: trailers",
            b"Connection: keep-alive",
            b"Connection: content-length, a",
            b"Expect: 100-continue",
            b"Trailer: A",
            b"Connection: close",
        ]
    ),
    st.sampled_from(
        [
            b"Upgrade: h2c",
            b"A : b",
            b" folded",
            b"no colon",
            b"A: \0",
            b"A: b\rC: d",
            b"Content-Length: 0",
            b"Transfer-Encoding: identity",
            b"Host: evil.example",
            b"Origin: http://evil.example",
        ]
    ),
)


@st.composite
def _sized(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    body = draw(_BODY)
    length = b"%d" % len(body)
    name = draw(st.sampled_from([b"Content-Length: ", b"content-length:\t", b"CONTENT-LENGTH:"]))
    wrong = st.sampled_from([b"+", b"-", b"0x", b"0, ", b"\x0b", b"9" * 20])
    return [name + draw(_seldom(st.just(length), wrong.map(lambda before: before + length)))], body


@st.composite
def _chunked(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    name = draw(st.sampled_from([b"Transfer-Encoding: ", b"TRANSFER-ENCODING:", b"transfer-encoding:\t"]))
    value = draw(
        _seldom(
            st.sampled_from([b"chunked", b"Chunked"]),
            st.sampled_from([b"x, chunked", b"chunked, identity", b"xchunked", b"\x0bchunked", b"chunked;a", b""]),
        )
    )
    sent = b""
    for piece in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=4)):
        size = draw(st.sampled_from([b"%x", b"%X", b"00%x"])) % len(piece)
        size += draw(_seldom(st.just(b""), st.sampled_from([b";a", b" ", b";a=b\n", b"_0", b"h"])))
        sent += size + draw(_END) + piece + draw(_END)
    last = draw(
        _seldom(st.just(b"0\r\n\r\n"), st.sampled_from([b"0\r\nA: b\r\n\r\n", b"0\r\n", b"0\n\n", b"-0\r\n\r\n"]))
    )
    return [name + value], sent + last


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    lines, body = draw(st.just(([], b"")) | _sized() | _chunked())
    if draw(st.integers(0, 19)) == 13:
        lines += draw(_sized() | _chunked())[0]
    lines += draw(st.lists(_HEADER, max_size=2))
    first = b" ".join((draw(_METHOD), draw(_PATH), draw(_VERSION)))
    return (
        first
        + draw(_END)
        + _OWN
        + b"".join(line + draw(_END) for line in draw(st.permutations(lines)))
        + b"\r\n"
        + body
    )


@st.composite
def _case(draw: st.DrawFn) -> Case:
    data = b"".join(draw(st.lists(_request(), min_size=1, max_size=3)))
    ends = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=4)))
    order = [0, *ends, len(data)]
    return Case("built", tuple(data[begin:end] for begin, end in pairwise(order)))


def test_what_is_built_out_of_good_and_bad_parts_comes_out_as_a_strict_reader_reads_it(running: Running) -> None:
    @settings(max_examples=200)
    @given(st.lists(_case(), min_size=1, max_size=10))
    def holds(cases: list[Case]) -> None:
        found = running.send(cases)
        assert not found, "\n".join(map(str, found))

    holds()
    assert has_enough_of_both(running.experiment), str(running.experiment.shares)
