"""The Basic pair that a peer's proxy is shown. One that was refused is not shown again until its file changes."""

import base64
from contextlib import suppress

from switchboard_service.secret_file import SecretError, SecretFile


class Credential:
    """The Basic pair of one peer. One that was refused is not shown again until its file changes."""

    def __init__(self, user: str, password: SecretFile) -> None:
        """Read the file.

        Raises:
            SecretError: the password file is not fit for use.
        """
        self._user = user
        self._file = password
        self._refused: tuple[int, int, int] | None = None
        self._signature = password.signature()
        self._header = self._read()

    def _read(self) -> bytes:
        pair = f"{self._user}:{self._file.read()}".encode()
        return b"Basic " + base64.b64encode(pair)

    def refuse(self, shown: bytes | None) -> None:
        """The proxy did not take what it was shown; news of a pair that has been replaced meanwhile comes too late."""
        if shown is None or shown == self._header:
            self._refused = self._signature

    def header(self) -> bytes | None:
        """The Authorization value; None while the pair is known to be wrong."""
        if self._refused is None:
            return self._header
        signature = self._file.signature()
        if signature is None or signature == self._refused:
            return None
        with suppress(SecretError):
            self._header = self._read()
            self._signature, self._refused = signature, None
            return self._header
        return None
