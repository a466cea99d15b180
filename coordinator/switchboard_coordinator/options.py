"""The options of a turn with several lanes, as they stand under `"switchboard"` in a body. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .address import Address, AddressError, parse_target
from .errors import MalformedRequest

Answers = Literal["sections", "choices"]


@dataclass(frozen=True, slots=True)
class Options:
    """How the lanes' answers are put together, how many are enough for `quorum`, who chairs a `council`.

    None is for the default: a majority, and the chair that the group has.
    """

    answers: Answers = "sections"
    quorum: int | None = None
    chair: Address | None = None


def parse_options(value: object) -> Options:
    """The options in what stands under `"switchboard"`; names that are not ours are left to others.

    Raises:
        MalformedRequest: not an object, or an option that is none; `param` names it.
    """
    if value is None:
        return Options()
    if not isinstance(value, Mapping):
        raise MalformedRequest("`switchboard` must be an object", param="switchboard")
    return Options(_answers(value.get("answers")), _quorum(value.get("quorum")), _chair(value.get("chair")))


def _answers(value: object) -> Answers:
    if value is None or value == "sections":
        return "sections"
    if value == "choices":
        return "choices"
    raise MalformedRequest("`answers` is `sections` or `choices`", param="switchboard.answers")


def _quorum(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise MalformedRequest(
            "`quorum` is how many lanes are enough, a whole number from 1", param="switchboard.quorum"
        )
    return value


def _chair(value: object) -> Address | None:
    if value is None:
        return None
    target: object = None
    if isinstance(value, str):
        try:
            target = parse_target(value)
        except AddressError:
            target = None
    if not isinstance(target, Address):
        raise MalformedRequest("`chair` is one address, `profile@peer` or `peer`", param="switchboard.chair")
    return target
