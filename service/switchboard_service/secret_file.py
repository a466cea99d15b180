"""One secret, kept in a file of its own. The value leaves this module only through `read`; no text here shows it."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

MIN_LENGTH = 16
MAX_LENGTH = 4096


class SecretError(Exception):
    """A secret file cannot be used. The text names the file and says how to mend it, and never shows the value."""


def read_private(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a file that nobody but its owner may read.

    Raises:
        SecretError: the file is missing, no regular file, open to others, or cannot be read.
    """
    try:
        # A pipe in the place of the file must not hold up the start: hence O_NONBLOCK.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise SecretError(f"{path} is missing: write the secret into it, with mode 0400") from None
    except PermissionError:
        raise SecretError(f"{path} cannot be read: it must belong to the user {os.geteuid()}") from None
    except OSError as error:
        raise SecretError(f"{path} cannot be opened: {error.strerror}") from None
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise SecretError(f"{path} is not a regular file: put a file with the secret in its place")
        if mode & 0o077:
            raise SecretError(f"{path} is open to group or others (mode {stat.S_IMODE(mode):04o}): chmod 0400 {path}")
        return os.read(descriptor, limit)
    except OSError as error:
        raise SecretError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True, repr=False)
class SecretFile:
    """Where a secret is. A field of this type takes a path in pydantic models; nothing is read until `read`."""

    path: Path

    def read(self) -> str:
        """The secret, without one trailing newline: 16 to 4096 visible ASCII characters.

        Raises:
            SecretError: the file is missing, no regular file, open to others, or holds no such secret.
        """
        return self._checked(read_private(self.path, MAX_LENGTH + 2))

    def signature(self) -> tuple[int, int, int] | None:
        """Changes when the file does, its mode and owner too: change time in ns, size, inode. None: no file to see.

        Not the modification time, which `cp -p` and `rsync -t` set back, and which no chmod moves.
        """
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_ctime_ns, status.st_size, status.st_ino

    def _checked(self, content: bytes) -> str:
        value = content.removesuffix(b"\n")
        if not value:
            raise SecretError(f"{self.path} is empty: write the secret into it")
        if not all(0x21 <= byte <= 0x7E for byte in value):
            raise SecretError(
                f"{self.path} holds blanks, control characters or letters beyond ASCII: write one line of visible ASCII"
            )
        if len(value) < MIN_LENGTH:
            raise SecretError(
                f"{self.path} is too short with {len(value)} characters: it takes {MIN_LENGTH} or more, at random"
            )
        if len(value) > MAX_LENGTH:
            raise SecretError(f"{self.path} is longer than {MAX_LENGTH} characters: it must hold the secret alone")
        return value.decode("ascii")

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(lambda file: str(file.path))
        )

    @classmethod
    def _validated(cls, value: object) -> "SecretFile":
        if isinstance(value, SecretFile):
            return value
        if isinstance(value, str | os.PathLike) and str(value):
            return cls(Path(value))
        raise ValueError("must be the path of a file")
