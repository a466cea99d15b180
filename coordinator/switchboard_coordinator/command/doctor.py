"""`switchboard doctor`: walks every hop to every peer, and says what mends the first that fails."""

import asyncio
import sys
from typing import Annotated

import orjson
import typer
from rich.console import Console

from switchboard_coordinator.doctor.findings import told
from switchboard_coordinator.doctor.walk import Ground, walk_to

from .configuration import read_configuration
from .doctor_table import doctor_table
from .exits import EX_FAILED

TURN_SECONDS = 120.0

Names = Annotated[list[str] | None, typer.Argument(metavar="[PEER]…", help="Peers of the peers file; none means all.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")]
WithTurn = Annotated[bool, typer.Option("--turn/--no-turn", help="Ask each profile for one turn at the end.")]
TurnSeconds = Annotated[float, typer.Option(min=1.0, help="How long such a turn may take.")]


def doctor(
    peers: Names = None, as_json: AsJson = False, turn: WithTurn = True, turn_seconds: TurnSeconds = TURN_SECONDS
) -> None:
    """Walk every hop to peers, from this coordinator's own configuration, and say what mends the first that fails.

    The coordinator need not run. Exits 0 when all is well, 1 when a hop fails, 78 when the configuration is wrong.
    """
    settings, file, _ = read_configuration(with_passwords=False)
    ground = Ground(
        file.peers,
        settings.peers_file,
        settings.secrets_folder,
        settings.allow_untrusted_bind,
        turn_seconds if turn else None,
    )
    try:
        walks = asyncio.run(walk_to(peers or [*file.peers], ground))
    except KeyboardInterrupt:
        sys.exit(130)
    if as_json:
        sys.stdout.write(orjson.dumps(told(walks)).decode() + "\n")
    else:
        Console(highlight=False, soft_wrap=True).print(doctor_table(walks))
    sys.exit(0 if all(walk.is_ok for walk in walks) else EX_FAILED)
