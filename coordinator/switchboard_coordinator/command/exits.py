"""How a command ends that cannot do what it was told: a status, and sentences on standard error."""

import sys
from typing import NoReturn

EX_FAILED, EX_USAGE, EX_BUSY, EX_CONFIG = 1, 2, 75, 78
"""75 says: not yet, come again."""


def stop(status: int, *sentences: str) -> NoReturn:
    """End the process."""
    for sentence in sentences:
        print(f"switchboard: {sentence}", file=sys.stderr)  # noqa: T201 - a command talks to a person
    sys.exit(status)
