"""Sentences about mistakes."""

import pytest
from pydantic import TypeAdapter, ValidationError
from switchboard_service.mistakes import MistakesFound, in_words, nearest


def test_what_has_no_sentence_of_ours_is_told_in_pydantics() -> None:
    with pytest.raises(ValidationError) as wrong:
        TypeAdapter(bytes).validate_python(7)
    assert in_words(wrong.value.errors()[0]) == "must be a valid bytes"


def test_all_problems_stand_a_line_each() -> None:
    found = MistakesFound(word for word in ("a", "b"))
    assert (found.problems, str(found)) == (["a", "b"], "a\nb")


def test_a_beginning_that_all_names_share_does_not_make_them_alike() -> None:
    known = ["SWITCHBOARD_PORT", "SWITCHBOARD_USER"]
    assert nearest("SWITCHBOARD_PROT", known, common="SWITCHBOARD_") == ", did you mean `SWITCHBOARD_PORT`?"
    assert nearest("SWITCHBOARD_X", known, common="SWITCHBOARD_") == ""
