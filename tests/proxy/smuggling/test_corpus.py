"""Every entry of the corpus at every side, in one piece, byte by byte and cut anywhere."""

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from doubles.running_proxy import running_proxy
from switchboard_proxy.settings import Profile

from .corpus import CORPUS, PLACES, Entry
from .experiment import Case, Experiment
from .passage import NAME, Proxy
from .witness import witnesses

AT_ONCE = 64
BYTE_BY_BYTE = 2000
"""Longer ones are cut in a hundred places."""


def cuts(data: bytes) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    yield "in one piece", (data,)
    if len(data) <= BYTE_BY_BYTE:
        yield "byte by byte", tuple(data[at : at + 1] for at in range(len(data)))
    chance = random.Random(len(data))  # noqa: S311 - no secret
    for number in (1, 2, 100):
        ends = sorted(chance.sample(range(1, len(data)), min(number, len(data) - 1)))
        yield (
            "cut" if number < 3 else "cut often",
            tuple(data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)),
        )


def cases(kind: str, entry: Entry) -> Iterator[Case]:
    for place in PLACES:
        for how, segments in cuts(entry.at(place)):
            yield Case(f"{kind}: {entry.name}, at {place}, {how}", segments, entry.crossing)


@pytest.fixture
async def experiment(tmp_path: Path) -> AsyncIterator[Experiment]:
    """In one loop with the proxy: so each segment is read before the next is sent."""
    async with (
        witnesses() as behind,
        running_proxy(
            tmp_path,
            {"default": Profile(port=behind.ports["agent"])},
            behind.ports["dashboard"],
            webui=True,
            webui_port=behind.ports["webui"],
            names=(NAME,),
        ) as proxy,
    ):
        yield Experiment(Proxy(proxy.port), behind)


@pytest.mark.parametrize("kind", CORPUS)
async def test_what_comes_out_is_what_a_strict_reader_reads(kind: str, experiment: Experiment) -> None:
    every = [case for entry in CORPUS[kind] for case in cases(kind, entry)]
    found = [
        finding for at in range(0, len(every), AT_ONCE) for finding in await experiment.run(every[at : at + AT_ONCE])
    ]
    assert experiment.shares.cases == len(every)
    assert not found, "\n".join(map(str, found[:5]))


def test_names_are_used_once() -> None:
    names = [entry.name for entries in CORPUS.values() for entry in entries]
    assert len(names) == len({*names})
