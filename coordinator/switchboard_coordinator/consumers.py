"""Who may ask: consumers and the SHA-256 digests of their keys, one a line in a file. The keys themselves are nowhere.

# the person at the laptop
me 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
"""

import hashlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from switchboard_service.mistakes import MistakesFound
from switchboard_service.secret_file import read_private

from .address import is_name

FILE_LIMIT_BYTES = 1_000_000

_DIGEST = re.compile("[0-9a-f]{64}")


class ConsumersError(MistakesFound):
    """The consumers file cannot be used; each problem names its line."""


class Consumers:
    """The consumers of one coordinator."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names` is digest → name."""
        self._names = dict(names)

    def who(self, authorization: bytes | None) -> str | None:
        """The consumer whose key this `Authorization: Bearer …` value holds.

        Found by the digest of what was sent, so that no comparison's time tells how much of a key was right.
        """
        scheme, _, key = (authorization or b"").partition(b" ")
        return self._names.get(_digest(key)) if scheme.lower() == b"bearer" else None


def read_consumers(file: Path) -> Consumers:
    """The consumers that a file names.

    Raises:
        SecretError: the file is missing or open to others.
        ConsumersError: with all mistakes in it.
    """
    names = _parse(read_private(file, FILE_LIMIT_BYTES), file)
    if not names:
        raise ConsumersError([f"{file} names no consumer: switchboard keys add NAME --file {file}"])
    return Consumers(names)


def add_consumer(file: Path, name: str, key: str | None = None) -> str:
    """Write a new consumer's line at the end of the file, which is made (mode 0600) where it is missing.

    Args:
        file: the consumers file.
        name: the consumer's name.
        key: its key; without one, a random one is made.

    Returns:
        The key; it is kept nowhere.

    Raises:
        SecretError: the file is open to others.
        ConsumersError: the name is no name, it or the key is there already, or the file has mistakes.
        OSError: the file cannot be written.
    """
    if not is_name(name):
        raise ConsumersError([f"{name!r} is no name: it takes lower-case letters, digits and hyphens"])
    # Its mode, like that of every file here, must keep others out from the first moment on.
    os.close(os.open(file, os.O_CREAT | os.O_CLOEXEC, 0o600))
    content = read_private(file, FILE_LIMIT_BYTES)
    known = _parse(content, file)
    if name in known.values():
        raise ConsumersError([f"{name} has a key in {file} already: remove its line to give it a new one"])
    key = key or "sk-switchboard-" + secrets.token_urlsafe(32)
    digest = _digest(key.encode())
    if digest in known:
        raise ConsumersError([f"this key is {known[digest]}'s in {file} already: each consumer has its own"])
    gap = b"" if content.endswith(b"\n") or not content else b"\n"
    with file.open("ab") as end:
        end.write(gap + f"{name} {digest}\n".encode())
    return key


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()


def _parse(content: bytes, file: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        match line.partition("#")[0].split():
            case []:
                continue
            case [name, digest] if is_name(name) and _DIGEST.fullmatch(digest):
                if digest in names or name in names.values():
                    problems.append(f"{file} line {number}: {name} or its key is there already: name each once")
                names[digest] = name
            case _:
                problems.append(f"{file} line {number}: must be a name and a SHA-256 digest, as `keys add` writes them")
    if problems:
        raise ConsumersError(problems)
    return names
