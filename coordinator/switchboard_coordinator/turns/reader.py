"""Reads a turn's events in order, from memory while they are new and from the journal behind that."""

from switchboard_coordinator.errors import JournalNeeded
from switchboard_coordinator.turn import Event

from .journal import Journal
from .live import LiveTurn


class Reader:
    """One reader of one turn; any number may read at once, each at its own pace."""

    def __init__(self, live: LiveTurn, journal: Journal, after: int = 0) -> None:
        """Begin behind event `after`."""
        self.last = after
        self._live = live
        self._journal = journal

    async def next(self) -> list[Event]:
        """The next events, as soon as there are any; none once the turn is over and all of it was read.

        May be cancelled and called again: nothing is lost.

        Raises:
            JournalNeeded: it fell behind, and no text is kept.
        """
        live = self._live
        while True:
            events = live.after(self.last)
            if events is None:
                if not self._journal.keeps_text:
                    raise JournalNeeded("the journal is off, so what was shown once cannot be read again")
                written = await self._journal.events(live.id, self.last)
                events = [event for event in written if event.id <= live.visible]
            if events:
                self.last = events[-1].id
                return events
            if live.over.done():
                return []
            await live.changed(self.last)
