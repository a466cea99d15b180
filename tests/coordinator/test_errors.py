"""One table of codes for all surfaces."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from switchboard_coordinator import errors
from switchboard_coordinator.errors import EveryLaneFailed, PeerError, SwitchboardError, Told

PROJECT = Path(__file__).parents[2]
PROTOCOL = PROJECT / "docs" / "protocol.md"


def all_errors(error: type[SwitchboardError] = SwitchboardError) -> Iterator[type[SwitchboardError]]:
    yield error
    for below in error.__subclasses__():
        yield from all_errors(below)


def documented() -> dict[str, tuple[str, str]]:
    """Code → status and started, as the coordinator's table has them."""
    table = PROTOCOL.read_text().partition("### Codes")[2].partition("### Peers")[0]
    rows: dict[str, tuple[str, str]] = {}
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for code, status in zip(
            re.findall("`([a-z_]+)`", cells[0]), re.findall(r"\d+", "".join(cells[1:2])), strict=False
        ):
            rows[code] = status, cells[2]
    return rows


def conflicts() -> set[str]:
    """The codes that a `Conflict` is given anywhere."""
    sources = (PROJECT / "coordinator" / "switchboard_coordinator").rglob("*.py")
    return {code for source in sources for code in re.findall(r'Conflict\(\s*"(\w+)"', source.read_text())}


FIXED = [
    error
    for error in all_errors()
    if "code" in vars(error) and error not in (SwitchboardError, PeerError, EveryLaneFailed)
]


@pytest.mark.parametrize("error", FIXED, ids=lambda error: error.__name__)
def test_every_error_stands_in_the_protocol_as_it_is(error: type[SwitchboardError]) -> None:
    status, started = documented()[error.code]
    assert (status, started.partition(",")[0]) == (str(error.status), error.started)


def test_every_conflict_stands_in_the_protocol() -> None:
    assert len(conflicts()) >= 3
    assert {documented()[code] for code in conflicts()} == {("409", "no")}


def test_errors_whose_code_depends_stand_there_too() -> None:
    assert documented()["every_lane_failed"][0] == str(EveryLaneFailed.status)
    assert documented()["internal_error"] == (str(errors.InternalError.status), errors.InternalError.started)
    assert documented()["not_found"] == ("404", "no")
    assert documented()["method_not_allowed"] == ("405", "no")


def test_the_protocol_has_no_code_that_is_never_given() -> None:
    given = {error.code for error in all_errors()} | conflicts()
    given |= {"not_found", "method_not_allowed", "quorum_missed"}
    assert documented().keys() == given


def test_the_tree_in_the_docstring_names_every_error() -> None:
    tree = re.findall(r"── (\w+)", errors.__doc__ or "")
    assert sorted(tree) == sorted(error.__name__ for error in all_errors() if error is not SwitchboardError)


def test_an_error_has_one_code_in_both_shapes() -> None:
    error = errors.MalformedRequest("`messages` must be a list", param="messages")
    assert error.envelope() == {
        "error": {
            "message": "`messages` must be a list",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "invalid_request",
        }
    }
    assert error.problem() == {
        "type": "urn:hermes-switchboard:problem:invalid_request",
        "title": "invalid request",
        "status": 400,
        "detail": "`messages` must be a list",
        "code": "invalid_request",
    }


def test_lanes_that_failed_alike_give_their_own_code_and_others_the_common_one() -> None:
    timeout, busy = errors.PeerTimeout("nas is silent"), errors.PeerBusy("tower is busy")
    alike = EveryLaneFailed([("default@nas", timeout), ("default@tower", errors.PeerTimeout("tower is silent"))])
    assert (alike.status, alike.code, alike.started) == (504, "peer_timeout", "no")
    assert alike.words == "default@nas: nas is silent; default@tower: tower is silent"
    mixed = EveryLaneFailed([("default@nas", timeout), ("default@tower", busy)])
    assert (mixed.status, mixed.code) == (502, "every_lane_failed")


def test_a_turn_has_started_as_far_as_any_of_its_lanes_did() -> None:
    lanes: list[tuple[str, SwitchboardError]] = [("a", errors.PeerTimeout("x")), ("b", errors.PeerOutcomeUnknown("y"))]
    assert EveryLaneFailed(lanes).started == "unknown"
    assert EveryLaneFailed([*lanes, ("c", errors.PeerFailed("z"))]).started == "yes"


def test_an_error_that_the_journal_kept_is_told_as_it_was() -> None:
    rejected = errors.PeerRejected("nas refuses it", status=422, code="odd", param="messages[0]")
    busy = errors.PeerBusy("nas is busy")
    busy.retry_after = "7"
    for error in (rejected, busy, errors.PeerOutcomeUnknown("it may have run"), errors.InternalError("a fault")):
        again = Told(error.told())
        assert again.envelope() == error.envelope()
        assert (again.status, again.started, again.retry_after) == (error.status, error.started, error.retry_after)
