import pytest

from bench.rounds import MANY, ONE, Measured, Round
from bench.single_lane_report import SingleLane


def measured(name: str, rate: float, alone_ms: float = 0.1) -> Measured:
    return Measured(name, "1.0", (Round(MANY, rate, 1.0, 2.0), Round(ONE, 100.0, alone_ms, 2.0)))


def mark(name: str, *systems: Measured) -> str:
    return next(str(mark) for mark in SingleLane(systems).marks() if name in mark.name)


@pytest.mark.parametrize(("rate", "verdict"), [(3000, "held"), (2999, "missed")])
def test_requests_are_held_against_those_of_portkey(rate: float, verdict: str) -> None:
    assert mark("3× Portkey", measured("switchboard", rate), measured("Portkey", 1000)).startswith(verdict)


@pytest.mark.parametrize(("alone_ms", "verdict"), [(1.5, "held"), (1.51, "missed")])
def test_what_is_added_to_one_connection_is_counted_without_the_direct_way(alone_ms: float, verdict: str) -> None:
    systems = measured("upstream", 1, 0.5), measured("switchboard", 1, alone_ms)
    assert mark("added", *systems).startswith(verdict)


def test_a_gateway_that_is_not_here_is_skipped_by_name() -> None:
    systems = measured("switchboard", 1), Measured("LiteLLM", skipped="not here")
    assert mark("LiteLLM", *systems) == "skipped  single lane: requests/s ≥ 20× LiteLLM  no figure for LiteLLM"
    assert SingleLane(systems).notes() == ["LiteLLM: not here"]
