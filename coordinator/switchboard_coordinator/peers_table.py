"""The roster as a table for a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

_STYLES = {"up": "green", "degraded": "yellow", "unauthorized": "red", "down": "red"}


def peers_table(body: Mapping[str, Any]) -> Table:
    """A line for each profile of each peer; `body` is what `GET /api/peers` answers."""
    table = Table(box=None, pad_edge=False)
    for heading in ("address", "state", "since", "round trip", "agent", "capabilities", ""):
        table.add_column(heading, overflow="fold")
    for peer in body["peers"]:
        for profile in peer["profiles"]:
            round_trip = peer["round_trip_ms"]
            cells = [
                profile["address"],
                Text(profile["state"], _STYLES.get(profile["state"], "")),
                (profile["since"] or "")[:19].replace("T", " "),
                f"{round_trip} ms" if round_trip is not None else "",
                profile["agent_version"] or "",
                ", ".join(profile["capabilities"]),
                profile["detail"] or "",
            ]
            table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in cells))
    return table
