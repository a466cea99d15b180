"""Whether the coordinator of this environment answers. Asked every few seconds: it imports no more than that takes.

The health check of the image runs this module, at a quarter of what the whole command `switchboard` costs.
"""

import os

from switchboard_service.mistakes import MistakesFound
from switchboard_service.readiness import NotReady, check_ready
from switchboard_service.settings import load

from switchboard_coordinator.settings import CoordinatorSettings

from .exits import EX_CONFIG, EX_FAILED, stop


def ready() -> None:
    """Exit 0 when the coordinator of this environment answers."""
    try:
        settings = load(CoordinatorSettings, os.environ)
    except MistakesFound as error:
        stop(EX_CONFIG, *error.problems)
    address = settings.addresses[-1]
    host = "127.0.0.1" if address.is_unspecified else str(address)
    try:
        check_ready("coordinator", host, settings.port, "/readyz")
    except NotReady as error:
        stop(EX_FAILED, str(error))


if __name__ == "__main__":
    ready()
