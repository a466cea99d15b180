"""The roster as a terminal shows it."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

_STYLES = {"up": "green", "degraded": "yellow", "draining": "cyan", "unauthorized": "red", "down": "red"}


def peers_table(body: Mapping[str, Any]) -> Group:
    """A line for each profile of each peer, then what is wrong where something is.

    `body` is what `GET /api/peers` answers.
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("address", "state", "since", "round trip", "agent", "capabilities"):
        table.add_column(heading, no_wrap=True)
    details: list[Text] = []
    for peer in body["peers"]:
        is_draining = peer["draining_since"] is not None
        if is_draining:
            turns = peer["turns"]
            words = f"{turns['running']} running, {turns['waiting']} waiting"
            since = f"drained since {_time(peer['draining_since'])}"
            details.append(Text.assemble((peer["name"], _STYLES["draining"]), f": {since}; {words}"))
        for profile in peer["profiles"]:
            takes_turns = profile["state"] in ("up", "degraded")
            state = "draining" if is_draining and takes_turns else profile["state"]
            round_trip = peer["round_trip_ms"]
            style = _STYLES.get(state, "")
            table.add_row(
                profile["address"],
                Text(state, style),
                _time(profile["since"] or ""),
                f"{round_trip} ms" if round_trip is not None else "",
                profile["agent_version"] or "",
                " ".join(profile["capabilities"]),
            )
            if profile["detail"]:
                details.append(Text.assemble((profile["address"], style), ": ", profile["detail"]))
    return Group(table, *details)


def _time(iso: str) -> str:
    return iso[:19].replace("T", " ")
