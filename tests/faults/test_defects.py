"""One wrong retry anywhere on the way is found, and told with the seed that shows it once more."""

from collections.abc import Callable

import pytest
from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import PeerError, PeerOutcomeUnknown
from switchboard_coordinator.turns.chat_lane import ChatLane
from switchboard_coordinator.turns.lane import LaneEnd
from switchboard_relay import Hop, Request

from . import __main__ as command
from .running import run_all

ENOUGH = 400
"""Schedules within which each defect is found."""

Defect = Callable[[pytest.MonkeyPatch], None]


def lane_asks_again(patch: pytest.MonkeyPatch) -> None:
    """A lane whose outcome is unknown is sent once more."""
    hold = ChatLane.hold

    async def twice(self: ChatLane, address: Address, attempt: int) -> LaneEnd:
        try:
            return await hold(self, address, attempt)
        except PeerOutcomeUnknown:
            return await hold(self, address, attempt)

    patch.setattr(ChatLane, "hold", twice)


def relay_repeats_posts(patch: pytest.MonkeyPatch) -> None:
    """A POST on a pooled connection that turns out to be dead is repeated as a GET is."""
    patch.setattr(Request, "is_safe", True)


def proxy_repeats_posts(patch: pytest.MonkeyPatch) -> None:
    """The same, in the proxy."""
    patch.setattr(Hop, "_is_safe", True)


def unknown_is_told_as_failed(patch: pytest.MonkeyPatch) -> None:
    """Nothing is sent twice, and the user is not told that it may have run."""
    told = PeerOutcomeUnknown.told
    patch.setattr(PeerOutcomeUnknown, "told", lambda self: {**told(self), "code": "peer_failed"})


def everything_is_told_as_unknown(patch: pytest.MonkeyPatch) -> None:
    """To be on the safe side, whatever fails is called ambiguous."""
    told = PeerError.told
    patch.setattr(PeerError, "told", lambda self: {**told(self), "code": PeerOutcomeUnknown.code})


@pytest.mark.parametrize(
    "defect",
    [
        lane_asks_again,
        relay_repeats_posts,
        proxy_repeats_posts,
        unknown_is_told_as_failed,
        everything_is_told_as_unknown,
    ],
)
async def test_a_defect_is_found(defect: Defect, monkeypatch: pytest.MonkeyPatch) -> None:
    defect(monkeypatch)
    tally = await run_all(range(ENOUGH), enough=1)
    assert tally.found


def test_the_command_names_the_seed_that_shows_it_once_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lane_asks_again(monkeypatch)
    assert command.run(100, 0) == 1
    told = capsys.readouterr().out
    seed = int(told.partition("FOUND by make faults N=1 SEED=")[2].split()[0])
    assert command.run(1, seed) == 1
    assert f"SEED={seed}" in capsys.readouterr().out
