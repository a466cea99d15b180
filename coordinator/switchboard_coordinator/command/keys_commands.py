"""`switchboard keys`: give consumers keys, show, revoke and replace them, in the database of a coordinator.

A running coordinator follows within two seconds; none needs to run.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from switchboard_service.mistakes import MistakesFound
from switchboard_service.secret_file import SecretError

from switchboard_coordinator.database import DatabaseError, open_blocking
from switchboard_coordinator.keys import keys
from switchboard_coordinator.keys.consumers_file import add_consumer
from switchboard_coordinator.keys.keys import Grant, KeyRefused
from switchboard_coordinator.keys.scopes import ScopeError, Scopes

from .asked_with import read_key
from .exits import EX_FAILED, EX_USAGE, stop
from .keys_table import keys_table, when

DEFAULT_DATABASE = Path("/var/lib/switchboard/switchboard.db")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_WIDE = 1000
"""Characters that a table may take: an id cut short would be of no use."""
_DURATION = re.compile(r"(\d{1,6})([smhdw])")

app = typer.Typer(name="keys", add_completion=False, no_args_is_help=True, help="Keys of consumers.")


class Moves(StrEnum):
    """What becomes of a session that is sent to another address."""

    ASK = "ask"
    FOLLOW = "follow"


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise typer.BadParameter("a duration is a number and s, m, h, d or w, such as 30d")
    return float(found[1]) * _SECONDS[found[2]]


Name = Annotated[str, typer.Argument(help="The consumer's name.")]
Database = Annotated[
    Path, typer.Option(envvar="SWITCHBOARD_COORDINATOR_DATABASE_FILE", help="The coordinator's database.")
]
OwnKey = Annotated[Path | None, typer.Option(help="Take the key from this file (or -) instead of making one.")]
Duration = Annotated[float, typer.Option(parser=_duration, metavar="DURATION")]


@app.command()
def add(
    name: Name,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What the key may do, once for each: *, nas's addresses *@nas, any@gpu, raw:nas, admin …"),
    ] = None,
    expires: Annotated[
        float | None, typer.Option(parser=_duration, metavar="DURATION", help="For how long it counts: 30d.")
    ] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="How many turns a minute it may open.")] = None,
    moves: Annotated[Moves, typer.Option(help="Whether sessions follow to another address unasked.")] = Moves.ASK,
    key_file: OwnKey = None,
    database: Database = DEFAULT_DATABASE,
    file: Annotated[
        Path | None,
        typer.Option(help="Write to a consumers file instead, that a coordinator takes in when it starts first."),
    ] = None,
) -> None:
    """Give a consumer a key, printed once: only its digest is kept. It may ask everyone, unless scopes are named."""
    key = _own_key(key_file)
    if file is not None:
        if scope or expires or rate or moves is Moves.FOLLOW:
            stop(EX_USAGE, "a consumers file holds names alone: scopes, expiry, rate and moves need the database")
        try:
            key = add_consumer(file, name, key)
        except MistakesFound as error:
            stop(EX_USAGE, *error.problems)
        except (SecretError, OSError) as error:
            stop(EX_FAILED, str(error))
    else:
        now = time.time()
        try:
            scopes = Scopes.parse(scope or ["*"])
        except ScopeError as error:
            stop(EX_USAGE, str(error))
        grant = Grant(scopes, moves.value, rate, None if expires is None else now + expires)
        key = key or keys.new_key()
        with _changing(database) as connection:
            keys.add(connection, name, grant, key, actor=_actor(), now=now)
    _show_once(key, key_file)


@app.command(name="list")
def show(database: Database = DEFAULT_DATABASE) -> None:
    """Show every key there ever was, never the keys themselves."""
    _must_be(database)
    with _changing(database) as connection:
        found = keys.all_keys(connection)
    Console(highlight=False, soft_wrap=True, width=_WIDE).print(keys_table(found, time.time()))


@app.command()
def revoke(
    which: Annotated[str, typer.Argument(metavar="NAME|ID", help="A consumer, for all its keys, or one key's id.")],
    database: Database = DEFAULT_DATABASE,
) -> None:
    """End keys for ever. A running coordinator refuses them within two seconds; turns that run go on."""
    _must_be(database)
    with _changing(database) as connection:
        ended = keys.revoke(connection, which, actor=_actor(), now=time.time())
    _tell(*(f"revoked {key.id} of {key.consumer}" for key in ended) if ended else (f"{which} was revoked already",))


@app.command()
def rotate(
    name: Name,
    overlap: Annotated[
        float, typer.Option(parser=_duration, metavar="DURATION", help="How long the old key counts beside it.")
    ] = "1d",  # type: ignore[assignment]  # typer parses a default as if it had been typed
    key_file: OwnKey = None,
    database: Database = DEFAULT_DATABASE,
) -> None:
    """Give a consumer a new key in place of the old one, good for the same. It is printed once."""
    _must_be(database)
    key, now = _own_key(key_file) or keys.new_key(), time.time()
    with _changing(database) as connection:
        _, old = keys.rotate(connection, name, key, overlap_seconds=overlap, actor=_actor(), now=now)
    _show_once(key, key_file)
    for one in old:
        ends = min(now + overlap, one.grant.expires_at or now + overlap)
        _tell(f"{one.id}, the key before, counts until {when(ends)} UTC")


@contextmanager
def _changing(database: Path) -> Iterator[Connection]:
    """One transaction on the database; the command ends with a sentence where that cannot be."""
    try:
        engine = open_blocking(database)
    except DatabaseError as error:
        stop(EX_FAILED, str(error))
    try:
        with engine.begin() as connection:
            yield connection
    except KeyRefused as error:
        stop(EX_USAGE, str(error))
    except SQLAlchemyError as error:
        stop(EX_FAILED, f"{database} cannot be used: {getattr(error, 'orig', None) or error}")
    finally:
        engine.dispose()


def _must_be(database: Path) -> None:
    if not database.exists():
        stop(EX_FAILED, f"there is no database {database}: name it with --database")


def _own_key(file: Path | None) -> str | None:
    return None if file is None else read_key(file)


def _show_once(key: str, key_file: Path | None) -> None:
    if key_file is None:
        print(key)  # noqa: T201 - the one time that it is shown


def _tell(*sentences: str) -> None:
    """On standard error: standard output is for the key alone."""
    for sentence in sentences:
        typer.echo(sentence, err=True)


def _actor() -> str:
    return f"uid:{os.getuid()}"
