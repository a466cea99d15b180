"""`switchboard ask` and `peers`: what a running coordinator is asked, and its answers shown."""

import sys
from typing import Annotated

import orjson
import typer
from rich.console import Console

from switchboard_coordinator.address import AddressError

from . import ask as asking
from .asked_with import LOCAL_URL, KeyFile, Url, read_key
from .exits import EX_FAILED, EX_USAGE, stop
from .lane_printer import Piece
from .peers_table import peers_table

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")


def ask(
    text: Annotated[str, typer.Argument(help="The message.")],
    to: Annotated[str, typer.Option(help="Who is asked: nas, work@nas, or a group such as all@fleet.")],
    url: Url = LOCAL_URL,
    key_file: KeyFile = None,
) -> None:
    """Send one message, and show every answer under its address as it comes.

    Exits 0 when everyone asked has answered, 1 when not, 2 when the command was wrong.
    """
    console = Console(highlight=False, soft_wrap=True)
    is_begun = False

    def show(pieces: list[Piece]) -> None:
        nonlocal is_begun
        for piece in pieces:
            is_begun = True
            colour = _COLOURS[piece.lane % len(_COLOURS)]
            style = f"bold {colour}" if piece.is_heading else colour
            console.print(piece.text, style=style, end="", markup=False)
        console.file.flush()

    try:
        asking.Coordinator(url, read_key(key_file)).ask(text, to, show)
    except AddressError as error:
        stop(EX_USAGE, str(error))
    except asking.AskFailed as error:
        stop(EX_FAILED, *str(error).splitlines())
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if is_begun:
            console.print()


def peers(
    as_json: Annotated[bool, typer.Option("--json", help="Print what the coordinator answers, as it is.")] = False,
    url: Url = LOCAL_URL,
    key_file: KeyFile = None,
) -> None:
    """Show how every peer was found last."""
    try:
        body = asking.Coordinator(url, read_key(key_file)).peers()
    except asking.AskFailed as error:
        stop(EX_FAILED, str(error))
    if as_json:
        sys.stdout.write(orjson.dumps(body).decode() + "\n")
    else:
        Console(highlight=False, soft_wrap=True).print(peers_table(body))
