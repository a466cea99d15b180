"""The terms that a request's headers tell, and those that are none."""

import pytest
from switchboard_coordinator.errors import MalformedRequest
from switchboard_coordinator.surfaces.terms import LONGEST_DEADLINE_MS, Terms, terms_of


@pytest.mark.parametrize(
    ("headers", "terms"),
    [
        ((), Terms()),
        (((b"content-type", b"application/json"), (b"x-switchboard-other", b"?")), Terms()),
        (((b"idempotency-key", b"k" * 255),), Terms(key="k" * 255)),
        (((b"x-switchboard-on-disconnect", b"detach"),), Terms(policy="detach")),
        (((b"x-switchboard-on-disconnect", b" cancel "),), Terms(policy="cancel")),
        (((b"x-switchboard-deadline-ms", b"1"),), Terms(deadline_ms=1)),
        (((b"x-switchboard-deadline-ms", b"%d" % LONGEST_DEADLINE_MS),), Terms(deadline_ms=LONGEST_DEADLINE_MS)),
        (((b"x-switchboard-to", b"all@fleet"),), Terms(to="all@fleet")),
        (((b"x-switchboard-to", b""),), Terms()),
        (((b"x-switchboard-transport", b"runs"),), Terms(transport="runs")),
        (((b"x-switchboard-move", b"yes"),), Terms(is_move=True)),
        (((b"x-switchboard-move", b"no"),), Terms()),
        (((b"x-hermes-session-id", b"tale"),), Terms(session="tale")),
    ],
)
def test_terms_are_read(headers: tuple[tuple[bytes, bytes], ...], terms: Terms) -> None:
    assert terms_of(headers) == terms


def test_several_terms_stand_together() -> None:
    headers = ((b"x-switchboard-move", b"yes"), (b"idempotency-key", b"k"), (b"x-switchboard-transport", b"chat"))
    assert terms_of(headers) == Terms(key="k", transport="chat", is_move=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"idempotency-key", b""),
        (b"idempotency-key", b"two words"),
        (b"idempotency-key", b"k" * 256),
        (b"idempotency-key", b"caf\xc3\xa9"),
        (b"x-switchboard-on-disconnect", b""),
        (b"x-switchboard-on-disconnect", b"Detach"),
        (b"x-switchboard-on-disconnect", b"detach, cancel"),
        (b"x-switchboard-deadline-ms", b""),
        (b"x-switchboard-deadline-ms", b"0"),
        (b"x-switchboard-deadline-ms", b"-1"),
        (b"x-switchboard-deadline-ms", b"1.5"),
        (b"x-switchboard-deadline-ms", b"1e3"),
        (b"x-switchboard-deadline-ms", b"\xb2"),  # a digit that is no decimal
        (b"x-switchboard-deadline-ms", b"%d" % (LONGEST_DEADLINE_MS + 1)),
        (b"x-switchboard-deadline-ms", b"0000864000009"),
        (b"x-switchboard-deadline-ms", b"9" * 5000),
        (b"x-switchboard-transport", b""),
        (b"x-switchboard-transport", b"run"),
        (b"x-switchboard-move", b""),
        (b"x-switchboard-move", b"true"),
        (b"x-switchboard-move", b"YES"),
    ],
)
def test_a_header_that_says_what_it_cannot_is_refused_by_name(name: bytes, value: bytes) -> None:
    with pytest.raises(MalformedRequest) as refused:
        terms_of(((name, value),))
    assert (refused.value.status, refused.value.param) == (400, name.decode())


@pytest.mark.parametrize(
    "name",
    [
        b"idempotency-key",
        b"x-switchboard-on-disconnect",
        b"x-switchboard-deadline-ms",
        b"x-switchboard-to",
        b"x-switchboard-transport",
        b"x-switchboard-move",
        b"x-hermes-session-id",
    ],
)
def test_a_header_that_is_there_twice_is_refused_though_it_says_the_same(name: bytes) -> None:
    with pytest.raises(MalformedRequest, match="is there twice") as refused:
        terms_of(((name, b"1"), (b"accept", b"*/*"), (name, b"1")))
    assert refused.value.param == name.decode()
