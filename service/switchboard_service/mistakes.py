"""What an operator wrote wrongly: told all at once, in words that fit behind the name of a setting."""

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic_core import ErrorDetails

_SENTENCES = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "bool_parsing": "must be yes or no",
    "bool_type": "must be yes or no",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "ip_any_address": "must be an IP address such as 100.64.0.12",
    "dict_type": "must be an object of names and values",
    "model_type": "must be an object of names and values",
    "too_short": "must hold at least {min_length}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "path_type": "must be the path of a file or folder",
    "literal_error": "must be {expected}",
}


class MistakesFound(Exception):
    """A configuration that cannot be used. `problems` has one sentence a mistake, which says where it is."""

    def __init__(self, problems: "Iterable[str]") -> None:
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


def in_words(error: "ErrorDetails") -> str:
    """What pydantic found wrong, such as "must be a whole number"; no full stop.

    Without the value: it may be a secret in the wrong place.
    """
    context = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    if sentence := _SENTENCES.get(error["type"]):
        return sentence.format(**context)
    return re.sub("^(Input|Value) should", "must", error["msg"], flags=re.IGNORECASE)


def nearest(name: str, known: "Iterable[str]", common: str = "") -> str:
    """A question to put behind an unknown name: ", did you mean `port`?"; empty where nothing is near.

    A beginning that all names have in `common` does not make them alike.
    """
    matches = get_close_matches(name.removeprefix(common), [one.removeprefix(common) for one in known], n=1, cutoff=0.7)
    return f", did you mean `{common}{matches[0]}`?" if matches else ""
