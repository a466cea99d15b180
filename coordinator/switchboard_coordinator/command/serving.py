"""`switchboard serve`, `check`, `schema`: what a coordinator runs with."""

import sys

from switchboard_service import logs
from switchboard_service.listen import ListenError, open_those_there

from switchboard_coordinator.app import create_app
from switchboard_coordinator.database import DatabaseError
from switchboard_coordinator.database import check as check_database
from switchboard_coordinator.peers.peers_file import schema as schema_of_peers
from switchboard_coordinator.serve import Drain
from switchboard_coordinator.serve import serve as serve_app
from switchboard_coordinator.surfaces.edge import BrokenOff

from .configuration import read_configuration
from .exits import EX_CONFIG, stop


def serve() -> None:
    """Run the coordinator; the environment is its configuration."""
    settings, peers, consumers = read_configuration()
    logs.configure(expected=(BrokenOff,))
    drain = Drain(settings.drain_seconds)
    try:
        coordinator = create_app(settings, peers, consumers, drain, logs.RequestLog().line)
        listeners, awaited = open_those_there(settings.addresses, settings.port)
        serve_app(coordinator, listeners, drain, awaited)
    except (ListenError, DatabaseError) as error:
        stop(EX_CONFIG, str(error))


def check() -> None:
    """Check the whole configuration, and tell all mistakes at once; then whether the database can be used."""
    settings, peers, _ = read_configuration()
    try:
        check_database(settings.database_file)
    except DatabaseError as error:
        stop(EX_CONFIG, str(error))
    print(f"{settings.peers_file}: {len(peers.peers)} peers, no mistakes")  # noqa: T201 - a command talks to a person


def schema() -> None:
    """Print the JSON Schema of the peers file."""
    sys.stdout.write(schema_of_peers())
