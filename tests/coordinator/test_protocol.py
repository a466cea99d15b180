"""docs/protocol.md has every route, header, event and reason of the coordinator, and names none that is not there."""

import re
from pathlib import Path

import pytest
from switchboard_coordinator.options import Options
from switchboard_coordinator.surfaces import terms
from switchboard_coordinator.surfaces.openapi_routes import OPERATIONS
from switchboard_coordinator.turn import OVER

ROOT = Path(__file__).parents[2]
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text().partition("## Proxy")[0]
SOURCE = "\n".join(file.read_text() for file in (ROOT / "coordinator" / "switchboard_coordinator").rglob("*.py"))


def section(title: str) -> str:
    """What stands under one heading."""
    begun = PROTOCOL.partition(f"\n### {title}\n")[2]
    assert begun, title
    return begun.partition("\n### ")[0]


def first_cells(text: str) -> set[str]:
    """The codes in the first cells of a table."""
    cells = (line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    return {code for cell in cells for code in re.findall("`([^`]+)`", cell)}


def test_every_route_is_in_the_table_and_no_other() -> None:
    told = {route.removeprefix("GET ").removeprefix("POST ") for route in first_cells(section("Routes"))}
    assert told == {operation.path for operation in OPERATIONS}


def test_the_table_of_events_has_every_event() -> None:
    literal = set(re.findall(r'"((?:lane|turn)\.[a-z]+)"', SOURCE)) - {"turn.cancel"}
    assert first_cells(section("Events")) == literal | {f"turn.{state}" for state in OVER}


@pytest.mark.parametrize("name", sorted(terms._KNOWN))
def test_every_header_of_a_request_is_told(name: bytes) -> None:
    table = section("Authentication, requests and answers")
    assert name.decode() in {header.lower() for header in first_cells(table)}


def test_every_header_of_ours_is_told() -> None:
    ours = set(re.findall(r'b?"(x-switchboard-[a-z-]+)"', SOURCE)) - {"x-switchboard-"}
    assert ours <= first_cells(section("Authentication, requests and answers"))


def test_every_reason_of_a_cancelled_lane_is_told() -> None:
    names = "LOST_RACE|QUORUM_REACHED|NOBODY_ANSWERED|CLIENT_LEFT|DEADLINE"
    reasons = {*re.findall(rf'(?:{names}) = "([a-z_]+)"', SOURCE), *re.findall(r'\bcancel\("([a-z_]+)"', SOURCE)}
    assert len(reasons) == len(names.split("|")) + 1
    assert all(f"`{reason}`" in section("Events") for reason in reasons)


def test_every_action_of_the_audit_log_is_told() -> None:
    actions = {
        *re.findall(r'\bnote\("([a-z.]+)"', SOURCE),
        *re.findall(r'_note\(connection, actor, "([a-z.]+)"', SOURCE),
    }
    assert {"request", "raw", "session.move", "turn.cancel", "key.add"} <= actions
    assert all(f"`{action}`" in section("Audit") for action in actions if not action.startswith("lane."))


@pytest.mark.parametrize("option", Options.__slots__)
def test_every_option_of_a_mode_is_told(option: str) -> None:
    assert f"`{option}`" in section("Modes")
