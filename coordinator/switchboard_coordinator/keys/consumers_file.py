"""The consumers file: names and the SHA-256 digests of their keys, one a line. The keys themselves are nowhere.

# the person at the laptop
me 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

A coordinator takes names that it never saw from here into its database; for all others the database is the truth.
"""

import os
import re
from pathlib import Path

from switchboard_service.mistakes import MistakesFound
from switchboard_service.secret_file import read_private

from switchboard_coordinator.address import is_name

from .consumers import Consumers
from .keys import digest_of, new_key
from .scopes import ASKING

FILE_LIMIT_BYTES = 1_000_000

_DIGEST = re.compile("[0-9a-f]{64}")


class ConsumersError(MistakesFound):
    """The consumers file cannot be used; each problem names its line."""


def read_consumers(file: Path) -> Consumers:
    """The consumers that a file names, who may ask everyone; none where there is no file.

    Raises:
        SecretError: the file is open to others or cannot be read.
        ConsumersError: with all mistakes in it.
    """
    if not file.exists():
        return Consumers({})
    return Consumers(_parse(read_private(file, FILE_LIMIT_BYTES), file), ASKING)


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
    key = key or new_key()
    digest = digest_of(key.encode())
    if digest in known:
        raise ConsumersError([f"this key is {known[digest]}'s in {file} already: each consumer has its own"])
    gap = b"" if content.endswith(b"\n") or not content else b"\n"
    with file.open("ab") as end:
        end.write(gap + f"{name} {digest}\n".encode())
    return key


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
