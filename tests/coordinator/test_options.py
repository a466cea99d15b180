"""The options of a turn with several lanes."""

from typing import Any

import pytest
from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.options import Options, parse_options


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (None, Options("sections", None, None)),
        ({}, Options()),
        ({"answers": "choices"}, Options("choices")),
        ({"answers": None, "quorum": None, "chair": None}, Options()),
        ({"quorum": 2}, Options(quorum=2)),
        ({"chair": "nas"}, Options(chair=Address("default", "nas"))),
        ({"chair": "work@nas"}, Options(chair=Address("work", "nas"))),
        ({"something": "else"}, Options()),
    ],
)
def test_options_are_read(value: Any, options: Options) -> None:
    assert parse_options(value) == options


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("choices", "switchboard"),
        ([], "switchboard"),
        ({"answers": "both"}, "switchboard.answers"),
        ({"answers": ["choices"]}, "switchboard.answers"),
        ({"quorum": 0}, "switchboard.quorum"),
        ({"quorum": True}, "switchboard.quorum"),
        ({"quorum": "2"}, "switchboard.quorum"),
        ({"quorum": 1.5}, "switchboard.quorum"),
        ({"chair": "all@fleet"}, "switchboard.chair"),
        ({"chair": "No One"}, "switchboard.chair"),
        ({"chair": ["nas"]}, "switchboard.chair"),
    ],
)
def test_what_is_no_option_is_refused_by_its_name(value: Any, param: str) -> None:
    with pytest.raises(MalformedRequest) as caught:
        parse_options(value)
    assert (caught.value.status, caught.value.param) == (400, param)
