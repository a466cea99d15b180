"""`switchboard backup` and `switchboard restore`: the database of a coordinator, out and in again."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from . import backup as copies
from .exits import EX_FAILED, EX_USAGE, stop
from .keys_commands import DEFAULT_DATABASE, Database
from .keys_table import when

_STREAM = Path("-")

Copy = Annotated[Path, typer.Argument(metavar="FILE", help="The copy; - is the standard stream.")]


def backup(file: Copy, database: Database = DEFAULT_DATABASE) -> None:
    """Copy the database, keys, turns and audit log, whole and checked, while the coordinator goes on."""
    try:
        if file != _STREAM:
            content = copies.copy_to_file(database, file)
        elif sys.stdout.isatty():
            stop(EX_USAGE, "a database is nothing to read: send it into a file, or name one")
        else:
            content = copies.copy_to_stream(database, sys.stdout.buffer)
    except copies.CopyRefused as error:
        stop(EX_FAILED, str(error))
    _tell("copied", content)


def restore(
    file: Copy,
    replace: Annotated[bool, typer.Option("--replace", help="Give up the turns that the database holds now.")] = False,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Put a copy in the place of the database of a coordinator that is stopped."""
    try:
        if file != _STREAM:
            content = copies.restore_file(file, database, replaces=replace)
        else:
            content = copies.restore_stream(sys.stdin.buffer, database, replaces=replace)
    except copies.CopyRefused as error:
        stop(EX_FAILED, str(error))
    _tell("restored", content)


def _tell(done: str, content: copies.Content) -> None:
    """On standard error: standard output is for the copy alone."""
    newest = f", the newest of {when(content.newest)} UTC" if content.newest else ""
    typer.echo(f"{done} {content.turns} turns{newest}", err=True)
