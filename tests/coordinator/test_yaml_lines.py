"""YAML that remembers where everything stood."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from switchboard_coordinator.peers.yaml_lines import Document, YamlError

TEXT = """\
peers:
  nas:
    host: 100.64.0.12
    ports: [1, 2]

  no: {since: 2026-13-45}
"""


def test_every_key_and_entry_has_its_line() -> None:
    document = Document(TEXT)
    assert document.value == {"peers": {"nas": {"host": "100.64.0.12", "ports": [1, 2]}, "no": {"since": "2026-13-45"}}}
    assert document.line(("peers",)) == 1
    assert document.line(("peers", "nas", "host")) == 3
    assert document.line(("peers", "nas", "ports", 1)) == 4
    assert document.line(("peers", "no")) == 6


def test_what_is_missing_is_shown_where_it_should_be() -> None:
    document = Document(TEXT)
    assert document.line(("peers", "nas", "password_file")) == 2
    assert document.line(("other",)) == 1
    assert Document("").value is None
    assert Document("").line(("peers",)) == 1


def test_keys_are_text_as_it_is_written() -> None:
    assert Document("no: 1\n3: 2\nnull: 3\n1e3: 4").value == {"no": 1, "3": 2, "null": 3, "1e3": 4}


def test_a_key_that_is_repeated_is_told_with_its_line_and_the_first_one_counts() -> None:
    document = Document("a:\n  x: 1\n  x: 2\nb: 1\na: 3\n")
    assert document.value == {"a": {"x": 1}, "b": 1}
    assert document.repeated == [(("a", "x"), 3), (("a",), 5)]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1,\n", 3, "expected"),
        ("a:\n\t- 1", 2, "cannot start any token"),
        ("a: &x [1]\nb: *x", 2, "aliases"),
        ("? [a]\n: 1", 1, "key must be text"),
        ("a: 1\n---\nb: 2", 2, "another document"),
        ("a: !!python/name:os.system x", 1, "could not determine a constructor"),
        ("\x00", 1, "special characters"),
    ],
)
def test_broken_yaml_is_told_with_its_line(text: str, line: int, words: str) -> None:
    with pytest.raises(YamlError) as caught:
        Document(text)
    assert caught.value.line == line
    assert words in caught.value.words


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(YamlError):
        assert Document(text).line(("x",)) >= 1
