"""The keys of consumers as a terminal shows them. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from rich.table import Table
from rich.text import Text

from switchboard_coordinator.keys.keys import Key

_STYLES = {"live": "green", "expired": "yellow", "revoked": "red"}


def keys_table(keys: Iterable[Key], now: float) -> Table:
    """A line for each key; times are UTC."""
    table = Table(box=None, pad_edge=False)
    for heading in ("consumer", "key", "state", "until", "turns/min", "moves", "made", "scopes"):
        table.add_column(heading, no_wrap=True)
    for key in keys:
        state, grant = key.state(now), key.grant
        table.add_row(
            key.consumer,
            key.id,
            Text(state, _STYLES[state]),
            when(key.revoked_at or grant.expires_at),
            str(grant.turns_per_minute or ""),
            grant.moves,
            when(key.created_at),
            Text(str(grant.scopes)),
        )
    return table


def when(at: float | None) -> str:
    """A time to the minute; empty for none."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")
