"""What every command that asks a coordinator is told: where it answers, and the key to show it."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from switchboard_service.secret_file import MAX_LENGTH, MIN_LENGTH, SecretError, SecretFile

from .exits import EX_USAGE, stop

LOCAL_URL = "http://127.0.0.1:9120"
STANDARD_INPUT = Path("-")

Url = Annotated[str, typer.Option(envvar="SWITCHBOARD_URL", help="Where the coordinator answers.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        envvar="SWITCHBOARD_KEY_FILE", help="A file with your key, that only you may read; - is standard input."
    ),
]


def read_key(file: Path | None) -> str:
    """The key, or an end that says what is wrong with its file."""
    if file is None:
        stop(EX_USAGE, "no key: set SWITCHBOARD_KEY_FILE to a file with your key, or pass --key-file")
    if file == STANDARD_INPUT:
        key = sys.stdin.readline(MAX_LENGTH).strip()
        if len(key) < MIN_LENGTH or not key.isascii() or not key.isprintable():
            stop(EX_USAGE, f"no key on standard input: it takes a line of {MIN_LENGTH} or more visible characters")
        return key
    try:
        return SecretFile(file.expanduser()).read()
    except SecretError as error:
        stop(EX_USAGE, str(error))
