"""How the command `switchboard-proxy` ends when something is wrong: a sentence a mistake on stderr, and a status."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from switchboard_service.secret_file import SecretError
from switchboard_service.settings import SettingsError

EX_FAILED = 1
EX_CONFIG = 78


def stop(status: int, *sentences: str) -> NoReturn:
    """Say what is wrong, and end."""
    for sentence in sentences:
        print(sentence, file=sys.stderr)  # noqa: T201 - a command talks to a person
    sys.exit(status)


@contextmanager
def mistakes_told() -> Iterator[None]:
    """End with 78 where a setting or a secret turns out to be wrong in this block."""
    try:
        yield
    except SettingsError as error:
        stop(EX_CONFIG, *(f"switchboard-proxy: {problem}" for problem in error.problems))
    except SecretError as error:
        stop(EX_CONFIG, f"switchboard-proxy: {error}")
