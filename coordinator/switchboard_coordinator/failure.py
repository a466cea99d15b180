"""What to tell of a turn that was not done, from its events alone. Pure."""

from .errors import DeadlineExceeded, SwitchboardError, Told, TurnCancelled
from .turn import Turn


def failure_of(turn: Turn) -> SwitchboardError:
    """The error that a client of this turn is told, now or when it asks again later."""
    if turn.state != "cancelled":
        return Told(turn.end)
    started = "unknown" if any(lane.attempts for lane in turn.lanes) else "no"
    error: SwitchboardError
    if turn.end.get("reason") == "deadline":
        error = DeadlineExceeded("the turn did not end within x-switchboard-deadline-ms, and was cancelled")
    else:
        error = TurnCancelled(f"the turn was cancelled ({turn.end.get('reason', 'asked')})")
    error.started = started
    return error
