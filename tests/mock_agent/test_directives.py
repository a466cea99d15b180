"""Words at the head of a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_mock_agent.directives import Directives, parse


@given(st.text().filter(lambda text: not text.lstrip().startswith("!!")))
def test_a_text_without_directives_is_untouched(text: str) -> None:
    assert parse(text) == Directives(text=text)


def test_every_word_is_understood() -> None:
    assert parse('!!delay=0.5 !!repeat=3 !!silence=2 !!tool=terminal:{"command": "ls -l"} !!die go on') == Directives(
        delay=0.5, repeat=3, silence=2, tool=("terminal", '{"command": "ls -l"}'), die=True, text="go on"
    )
    assert parse("!!hold=1 !!cut !!approve=make !!history what") == Directives(
        hold=1, cut=True, approve="make", history=True, text="what"
    )
    assert parse("!!fail=401 boom") == parse("!!status=401 boom") == Directives(fail=401, text="boom")


@pytest.mark.parametrize(
    "text",
    [
        "!!nope x",
        "!!delay x",
        "!!delay=soon x",
        "!!delay=-1 x",
        "!!delay=nan x",
        "!!repeat=0 x",
        "!!fail=200 x",
        "!!die=1 x",
        "!!tool=terminal x",
        '!!tool=terminal:{"a" x',
        "!!",
        '!!tool=terminal:{"a": ' + "[" * 100_000,
    ],
)
def test_an_unknown_or_malformed_word_is_text(text: str) -> None:
    assert parse(text) == Directives(text=text)
    assert parse(f"!!delay=1 {text}") == Directives(delay=1, text=text)


def test_a_word_in_the_middle_is_text() -> None:
    assert parse("say !!die") == Directives(text="say !!die")


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert parse("!!" + text).text in "!!" + text
