"""The Basic pair that a peer's proxy is shown: what its file holds, and not what was refused until that changes."""

import base64
import time
from collections.abc import Callable

import structlog
from switchboard_service.secret_file import SecretError, SecretFile

LOOK_SECONDS = 1.0
"""The file is looked at no more often than this, as the proxy looks at its own; at every use while it is refused."""

_log = structlog.get_logger("switchboard")


class Credential:
    """The Basic pair of one peer.

    A file that is missing or unfit, while it is being written for instance, leaves the pair that was read before.
    """

    def __init__(self, user: str, password: SecretFile, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Raises:
            SecretError: the password file is not fit for use.
        """
        self._user = user
        self._file = password
        self._clock = clock
        self._is_refused = False
        self._told: str | None = None
        self._signature = password.signature()
        self._header = self._read()
        self._next_look = clock() + LOOK_SECONDS

    def _read(self) -> bytes:
        pair = f"{self._user}:{self._file.read()}".encode()
        return b"Basic " + base64.b64encode(pair)

    def refuse(self, shown: bytes | None) -> None:
        """The proxy did not take what it was shown; news of a pair that has been replaced meanwhile comes too late."""
        if shown is None or shown == self._header:
            self._is_refused = True

    def header(self) -> bytes | None:
        """The Authorization value; None while the pair is known to be wrong."""
        now = self._clock()
        if self._is_refused or now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._look()
        return None if self._is_refused else self._header

    def _look(self) -> None:
        signature = self._file.signature()
        if signature is None or signature == self._signature:
            return
        try:
            self._header = self._read()
        except SecretError as error:
            if str(error) != self._told:
                self._told = str(error)
                _log.warning("secret_unfit", problem=str(error), remedy="the one read before stays in force")
            return
        self._signature, self._is_refused, self._told = signature, False, None
