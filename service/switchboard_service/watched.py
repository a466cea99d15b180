"""Secrets whose files change while the service runs: read again, and kept in force where the new text is unfit."""

import asyncio
from collections.abc import Callable, Iterable

import structlog

from .secret_file import SecretError, SecretFile

LOOK_SECONDS = 1.0
"""Files are looked at, not watched: that sees a rename in a mounted folder too, which inotify in a container misses."""

_log = structlog.get_logger("switchboard_service")


class WatchedSecret:
    """One secret and the file that it comes from. `value` is the last one that was fit for use.

    Raises:
        SecretError: it is not fit for use at the start. An `optional` one may be missing: its value is None then.
    """

    def __init__(self, file: SecretFile, *, optional: bool = False) -> None:
        self._file = file
        self._optional = optional
        self._signature = file.signature()
        self._told: str | None = None
        self.value = self._read()

    def refresh(self) -> bool:
        """Read the file again; True when the value changed.

        What became unfit, a file that is being written for instance, leaves the last good value in force, and is told
        once in the log.
        """
        self._signature = self._file.signature()
        try:
            value = self._read()
        except SecretError as error:
            if str(error) != self._told:
                self._told = str(error)
                _log.warning("secret_unfit", problem=str(error), remedy="the one read before stays in force")
            return False
        self._told = None
        has_changed = value != self.value
        self.value = value
        return has_changed

    def refresh_if_changed(self) -> bool:
        """`refresh`, if the file looks different from how it was read last, or was unfit then."""
        was_unfit = self._told is not None
        return (was_unfit or self._file.signature() != self._signature) and self.refresh()

    def _read(self) -> str | None:
        if self._optional and self._signature is None:
            return None
        return self._file.read()


async def watch(
    secrets: Iterable[WatchedSecret], changed: Callable[[], None], *, look: asyncio.Event, seconds: float = LOOK_SECONDS
) -> None:
    """Call `changed` after any of the secrets did. Runs until it is cancelled; `look` makes it read all of them now."""
    watched = [*secrets]
    while True:
        try:
            async with asyncio.timeout(seconds):
                await look.wait()
        except TimeoutError:
            changes = [secret.refresh_if_changed() for secret in watched]
        else:
            look.clear()
            changes = [secret.refresh() for secret in watched]
        if any(changes):
            _log.info("secrets_renewed", files=sum(changes))
            changed()
