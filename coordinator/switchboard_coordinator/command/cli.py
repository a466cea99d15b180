"""The command `switchboard`: run a coordinator, check its configuration, add consumers, ask a running one."""

import os
import sys
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from switchboard_service import logs
from switchboard_service.listen import ListenError, UntrustedAddress, check_address, open_listener
from switchboard_service.mistakes import MistakesFound
from switchboard_service.secret_file import SecretError, SecretFile
from switchboard_service.settings import load

from switchboard_coordinator.address import AddressError
from switchboard_coordinator.app import create_app
from switchboard_coordinator.database import DatabaseError
from switchboard_coordinator.keys.consumers import Consumers
from switchboard_coordinator.keys.consumers_file import read_consumers
from switchboard_coordinator.peers.peers_file import PeersFile, read_peers, schema
from switchboard_coordinator.serve import Drain
from switchboard_coordinator.serve import serve as serve_app
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_coordinator.surfaces.edge import BrokenOff

from . import ask as asking
from . import keys_commands
from .exits import EX_CONFIG, EX_FAILED, EX_USAGE
from .exits import stop as _stop
from .lane_printer import Piece
from .peers_table import peers_table

READY_SECONDS = 3.0
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(keys_commands.app, name="keys")

Url = Annotated[str, typer.Option(envvar="SWITCHBOARD_URL", help="Where the coordinator answers.")]
KeyFile = Annotated[
    Path | None, typer.Option(envvar="SWITCHBOARD_KEY_FILE", help="A file with your key, that only you may read.")
]
LOCAL_URL = "http://127.0.0.1:9120"


def main() -> None:
    """Run the command."""
    app()


@app.command()
def serve() -> None:
    """Run the coordinator; the environment is its configuration."""
    settings, peers, consumers = _configuration()
    logs.configure(expected=(BrokenOff,))
    drain = Drain(settings.drain_seconds)
    try:
        coordinator = create_app(settings, peers, consumers, drain, logs.RequestLog().line)
        listener = open_listener(settings.listen_address, settings.port)
    except (ListenError, DatabaseError) as error:
        _stop(EX_CONFIG, str(error))
    serve_app(coordinator, listener, drain)


@app.command()
def check() -> None:
    """Check the whole configuration, and tell all mistakes at once."""
    settings, peers, _ = _configuration()
    print(f"{settings.peers_file}: {len(peers.peers)} peers, no mistakes")  # noqa: T201 - a command talks to a person


@app.command()
def ready() -> None:
    """Exit 0 when the coordinator of this environment answers."""
    try:
        settings = load(CoordinatorSettings, os.environ)
    except MistakesFound as error:
        _stop(EX_CONFIG, *error.problems)
    address = settings.listen_address
    host = "127.0.0.1" if address.is_unspecified else f"[{address}]" if address.version == 6 else str(address)
    try:
        answer = httpx.get(f"http://{host}:{settings.port}/readyz", timeout=READY_SECONDS, trust_env=False)
    except httpx.TransportError as error:
        _stop(EX_FAILED, f"no coordinator answers at {host}:{settings.port}: {error}")
    if answer.status_code != 200:
        _stop(EX_FAILED, f"the coordinator at {host}:{settings.port} answers {answer.status_code} to /readyz")


@app.command(name="schema")
def print_schema() -> None:
    """Print the JSON Schema of the peers file."""
    sys.stdout.write(schema())


@app.command()
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
        asking.Coordinator(url, _key(key_file)).ask(text, to, show)
    except AddressError as error:
        _stop(EX_USAGE, str(error))
    except asking.AskFailed as error:
        _stop(EX_FAILED, *str(error).splitlines())
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if is_begun:
            console.print()


@app.command()
def peers(url: Url = LOCAL_URL, key_file: KeyFile = None) -> None:
    """Show how every peer was found last."""
    try:
        body = asking.Coordinator(url, _key(key_file)).peers()
    except asking.AskFailed as error:
        _stop(EX_FAILED, str(error))
    Console(highlight=False, soft_wrap=True).print(peers_table(body))


def _configuration() -> tuple[CoordinatorSettings, PeersFile, Consumers]:
    """Everything that an operator wrote, or an end with all mistakes."""
    problems: list[str] = []
    try:
        settings = load(CoordinatorSettings, os.environ)
    except MistakesFound as error:
        _stop(EX_CONFIG, *error.problems)
    try:
        check_address(settings.listen_address, settings.allow_untrusted_bind, "SWITCHBOARD_COORDINATOR_LISTEN_ADDRESS")
    except UntrustedAddress as error:
        problems.append(str(error))
    peers, consumers = PeersFile.model_construct(peers={}), Consumers({})
    try:
        peers = read_peers(settings.peers_file)
    except MistakesFound as error:
        problems += error.problems
    for peer in peers.peers.values():
        try:
            peer.password(settings.secrets_folder).read()
        except SecretError as error:
            problems.append(str(error))
    try:
        consumers = read_consumers(settings.consumers_file)
    except MistakesFound as error:
        problems += error.problems
    except SecretError as error:
        problems.append(str(error))
    if problems:
        _stop(EX_CONFIG, *problems)
    return settings, peers, consumers


def _key(file: Path | None) -> str:
    if file is None:
        _stop(EX_USAGE, "no key: set SWITCHBOARD_KEY_FILE to a file with your key, or pass --key-file")
    try:
        return SecretFile(file.expanduser()).read()
    except SecretError as error:
        _stop(EX_USAGE, str(error))
