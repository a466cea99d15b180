"""What a key may do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.address import MODES, Address, Group
from switchboard_coordinator.keys.scopes import ADMIN, ASKING, CANCEL_OTHERS, EVERYTHING, Right, ScopeError, Scopes, raw

NAS, WORK, LAPTOP = Address("default", "nas"), Address("work", "nas"), Address("default", "laptop")
ANY_GPU, ALL_GPU, ANY_FLEET = Group("any", "gpu"), Group("all", "gpu"), Group("any", "fleet")
RIGHTS = (raw("nas"), raw("laptop"), CANCEL_OTHERS, ADMIN)
EVERY = (NAS, WORK, LAPTOP, ANY_GPU, ALL_GPU, ANY_FLEET, *RIGHTS)


@pytest.mark.parametrize(
    ("word", "allowed"),
    [
        ("*", {NAS, WORK, LAPTOP, ANY_GPU, ALL_GPU, ANY_FLEET}),
        ("*@*", {NAS, WORK, LAPTOP, ANY_GPU, ALL_GPU, ANY_FLEET}),
        ("default@nas", {NAS}),
        ("*@nas", {NAS, WORK}),
        ("default@*", {NAS, LAPTOP}),
        ("any@gpu", {ANY_GPU}),
        ("*@gpu", {ANY_GPU, ALL_GPU}),
        ("any@*", {ANY_GPU, ANY_FLEET}),
        ("raw:nas", {raw("nas")}),
        ("raw:*", {raw("nas"), raw("laptop")}),
        ("cancel-others", {CANCEL_OTHERS}),
        ("admin", {ADMIN}),
    ],
)
def test_a_scope_allows_what_it_names_and_nothing_else(word: str, allowed: set[object]) -> None:
    scopes = Scopes.parse([word])
    assert {needed for needed in EVERY if scopes.allows(needed)} == allowed


def test_several_scopes_allow_what_any_of_them_does() -> None:
    scopes = Scopes.parse(["default@nas", "any@gpu", "admin"])
    assert [needed for needed in EVERY if scopes.allows(needed)] == [NAS, ANY_GPU, ADMIN]
    assert str(scopes) == "default@nas any@gpu admin"


def test_no_scope_allows_nothing_and_all_of_them_everything() -> None:
    assert not any(Scopes().allows(needed) for needed in EVERY)
    assert all(EVERYTHING.allows(needed) for needed in EVERY)
    assert not any(ASKING.allows(needed) for needed in RIGHTS)


@given(st.sampled_from(["admin", "cancel-others", "nas"]), st.sampled_from(["*", "*@admin", "*@*", "admin@admin"]))
def test_a_right_is_not_had_by_asking_whatever_peers_are_called(word: str, scope: str) -> None:
    assert not Scopes.parse([scope]).allows(Right(word))


@pytest.mark.parametrize("peer", ["a@b", "@", "*", "", "nas:x", "nas@nas"])
def test_a_peer_that_is_named_like_no_peer_is_nobodys(peer: str) -> None:
    assert not Scopes.parse(["*", "*@*", "default@nas", "raw:nas", "admin"]).allows(raw(peer))


@given(st.sampled_from(MODES), st.from_regex(r"[a-z0-9][a-z0-9-]*", fullmatch=True))
def test_the_word_of_a_group_allows_that_group(mode: str, name: str) -> None:
    group = Group(mode, name)
    assert Scopes.parse([str(group)]).allows(group)
    assert not Scopes.parse([f"{mode}@{name}x"]).allows(group)


@pytest.mark.parametrize(
    "word",
    ["nas", "", "*@", "@nas", "Default@nas", "default@nas ", "raw", "raw:", "raw:nas:x", "amdin", "d*@nas", "**"],
)
def test_a_word_that_is_no_scope_is_told(word: str) -> None:
    with pytest.raises(ScopeError, match="a scope is") as caught:
        Scopes.parse(["any@gpu", word])
    assert str(caught.value).startswith(repr(word))
