"""Keys with scopes, put into the database of a coordinator before it starts."""

import time

from coordinator.stage import Stage
from switchboard_coordinator.database import open_blocking
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.keys import Grant, Moves
from switchboard_coordinator.keys.scopes import Scopes


def give(stage: Stage, name: str, *scopes: str, turns_per_minute: int | None = None, moves: Moves = "ask") -> str:
    """A new key of this consumer."""
    key = f"sk-{name}-0123456789"
    grant = Grant(Scopes.parse(scopes), moves, turns_per_minute)
    engine = open_blocking(stage.folder / "switchboard.db")
    with engine.begin() as connection:
        keys.add(connection, name, grant, key, actor="uid:0", now=time.time())
    engine.dispose()
    return key
