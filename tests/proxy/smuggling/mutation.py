"""Makes new cases out of the corpus: bytes and lines changed, two spliced, one repeated, all cut anew. Pure.

A case depends on its seed and number alone, so one is made again without those before it.
"""

import random
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from .corpus import CORPUS, PLACES
from .experiment import Case

AT_ONCE = 64
_LONGEST = 12_000
"""Above the limits of a line; longer ones teach nothing more and take their time."""
_GOOD, _OTHERS = (
    [
        entry.at(place)
        for entries in CORPUS.values()
        for entry in entries
        for place in PLACES
        if bool(entry.crossing) is is_good and len(entry.text) < _LONGEST
    ]
    for is_good in (True, False)
)
_BYTES = [bytes((number,)) for number in b'\0\t\n\x0b\x0c\r "#%&+,-./0159:;=?ACTX\\_afx|~\x7f\x80\x85\xa0\xb2\xff']
_WORDS = [
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\r\n ",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"content-length:3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding: identity\r\n",
    b"Transfer-Encoding: x, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Content-Length\r\n",
    b"Expect: 100-continue\r\n",
    b"Upgrade: h2c\r\n",
    b"Trailer: A\r\n",
    b"TE: trailers\r\n",
    b"X-A: b\r\n",
    b"X_A: b\r\n",
    b"GET /v1/models HTTP/1.1\r\n",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"http://a",
    b"//",
    b"/../",
    b"%2e",
    b"%2f",
    b"%00",
    b"chunked",
    b", ",
    b";a=b",
    b"hello",
]
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")
_NUMBER = re.compile(rb"\b[0-9a-fA-F]{1,4}\b")


def batches(seed: int, numbers: range) -> Iterator[list[Case]]:
    """The cases of these numbers, in such lots as are sent at once."""
    for first in numbers[::AT_ONCE]:
        yield [case(seed, number) for number in range(first, min(first + AT_ONCE, numbers.stop))]


def case(seed: int, number: int) -> Case:
    """One case of a run."""
    chance = random.Random(f"{seed} {number}")  # noqa: S311 - no secret
    data = _source(chance)
    for _ in range(chance.choices((0, 1, 2, 3, 5), (15, 45, 25, 10, 5))[0]):
        data = chance.choice(_CHANGES)(chance, data)
    return Case(f"number {number} of seed {seed}", _cut(chance, data or b"\n"))


def _source(chance: random.Random) -> bytes:
    return chance.choice(_GOOD if chance.random() < 0.6 else _OTHERS)


def _cut(chance: random.Random, data: bytes) -> tuple[bytes, ...]:
    """In one piece, in a few, or around one place byte by byte."""
    most = len(data) - 1
    match chance.randrange(4):
        case 0:
            ends = set(chance.sample(range(1, most + 1), min(most, chance.randint(1, 8))))
        case 1:
            at = chance.randint(0, most)
            ends = set(range(max(1, at - 8), min(most, at + 8) + 1))
        case _:
            ends = set()
    order = [0, *sorted(ends), len(data)]
    return tuple(data[begin:end] for begin, end in pairwise(order))


# The changes. Each takes a chance and the bytes of a connection.


def _change_byte(chance: random.Random, data: bytes) -> bytes:
    at = chance.randrange(len(data) or 1)
    return data[:at] + chance.choice(_BYTES) + data[at + 1 :]


def _insert_byte(chance: random.Random, data: bytes) -> bytes:
    return _insert(chance, data, chance.choice(_BYTES))


def _insert_word(chance: random.Random, data: bytes) -> bytes:
    return _insert(chance, data, chance.choice(_WORDS))


def _insert(chance: random.Random, data: bytes, word: bytes) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + word + data[at:]


def _insert_line(chance: random.Random, data: bytes) -> bytes:
    """Where a line begins, a word; so that headers are often whole."""
    lines = _LINE.findall(data)
    lines.insert(chance.randint(0, len(lines)), chance.choice(_WORDS))
    return b"".join(lines)


def _remove_bytes(chance: random.Random, data: bytes) -> bytes:
    at = chance.randint(0, len(data))
    return data[:at] + data[at + chance.choice((1, 1, 1, 2, 8)) :]


def _change_lines(chance: random.Random, data: bytes) -> bytes:
    """One line twice, away, or in another's place."""
    lines = _LINE.findall(data)
    if not lines:
        return data
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    match chance.randrange(3):
        case 0:
            lines.insert(other, lines[one])
        case 1:
            del lines[one]
        case _:
            lines[one], lines[other] = lines[other], lines[one]
    return b"".join(lines)


def _change_number(chance: random.Random, data: bytes) -> bytes:
    numbers = [*_NUMBER.finditer(data)]
    if not numbers:
        return data
    found = chance.choice(numbers)
    changed = chance.choice(
        (b"0", b"1", b"-1", b"00", b"0x5", b"5", b"ff", b"10", b"18446744073709551616", b"", found[0] * 2)
    )
    return data[: found.start()] + changed + data[found.end() :]


def _change_letters(chance: random.Random, data: bytes) -> bytes:
    """A few bytes in the other case."""
    at = chance.randint(0, len(data))
    return data[:at] + data[at : at + 6].swapcase() + data[at + 6 :]


def _splice(chance: random.Random, data: bytes) -> bytes:
    """The beginning of one and the end of another."""
    other = _source(chance)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


def _follow(chance: random.Random, data: bytes) -> bytes:
    """Another behind it, or before it."""
    both = [data, _source(chance)]
    chance.shuffle(both)
    return b"".join(both)[:_LONGEST]


def _repeat(_: random.Random, data: bytes) -> bytes:
    return (data * 2)[:_LONGEST]


def _end_early(chance: random.Random, data: bytes) -> bytes:
    return data[: chance.randint(1, len(data) or 1)]


_CHANGES: tuple[Callable[[random.Random, bytes], bytes], ...] = (
    _change_byte,
    _insert_byte,
    _insert_word,
    _insert_line,
    _insert_line,
    _remove_bytes,
    _change_lines,
    _change_number,
    _change_letters,
    _splice,
    _follow,
    _repeat,
    _end_early,
)
