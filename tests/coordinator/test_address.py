"""Model ids have one reading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.address import MODES, Address, AddressError, Group, is_name, parse_target

NAME = st.from_regex("[a-z0-9][a-z0-9-]{0,9}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("nas", Address("default", "nas")),
        ("default@nas", Address("default", "nas")),
        ("work@gpu-box-2", Address("work", "gpu-box-2")),
        ("all@fleet", Group("all", "fleet")),
        ("council@code", Group("council", "code")),
        ("all", Address("default", "all")),
    ],
)
def test_a_model_id_is_an_address_a_peer_or_a_group(text: str, target: Address | Group) -> None:
    assert parse_target(text) == target


@given(NAME.filter(lambda name: name not in MODES), NAME)
def test_what_an_address_is_written_as_is_read_as_that_address(profile: str, peer: str) -> None:
    assert parse_target(str(Address(profile, peer))) == Address(profile, peer)


@given(st.sampled_from(MODES), NAME)
def test_what_a_group_is_written_as_is_read_as_that_group(mode: str, name: str) -> None:
    assert parse_target(str(Group(mode, name))) == Group(mode, name)


@pytest.mark.parametrize(
    "text",
    ["", "@", "nas@", "@nas", "a@b@c", "Nas", "nas/default", "nas ", "nas\n", "-nas", "näs", "default@nas\n", "٣"],
)
def test_anything_else_is_refused_and_told_what_is_allowed(text: str) -> None:
    with pytest.raises(AddressError, match=r"profile@peer, peer or mode@group"):
        parse_target(text)


def test_a_long_text_is_not_repeated_whole() -> None:
    with pytest.raises(AddressError) as caught:
        parse_target("X" * 100_000)
    assert len(str(caught.value)) < 300


def test_names_are_lower_case_letters_digits_and_hyphens() -> None:
    assert all(map(is_name, ("a", "0", "gpu-box", "a-")))
    assert not any(map(is_name, ("", "-a", "A", "a_b", "a.b", "a\n", "ß")))
