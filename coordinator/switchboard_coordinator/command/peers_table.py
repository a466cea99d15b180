"""The roster as a terminal shows it."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

_STYLES = {"up": "green", "degraded": "yellow", "unauthorized": "red", "down": "red"}


def peers_table(body: Mapping[str, Any]) -> Group:
    """A line for each profile of each peer, then what is wrong where something is.

    `body` is what `GET /api/peers` answers.
    """
    table = Table(box=None, pad_edge=False)
    for heading in ("address", "state", "since", "round trip", "agent", "capabilities"):
        table.add_column(heading, no_wrap=True)
    details: list[Text] = []
    for peer in body["peers"]:
        for profile in peer["profiles"]:
            round_trip = peer["round_trip_ms"]
            style = _STYLES.get(profile["state"], "")
            table.add_row(
                profile["address"],
                Text(profile["state"], style),
                (profile["since"] or "")[:19].replace("T", " "),
                f"{round_trip} ms" if round_trip is not None else "",
                profile["agent_version"] or "",
                " ".join(profile["capabilities"]),
            )
            if profile["detail"]:
                details.append(Text.assemble((profile["address"], style), ": ", profile["detail"]))
    return Group(table, *details)
