"""What an operator wrote for a coordinator: settings, peers, secrets; all mistakes are told at once."""

import os

from switchboard_service.listen import UntrustedAddress, check_address
from switchboard_service.mistakes import MistakesFound
from switchboard_service.secret_file import SecretError
from switchboard_service.settings import load

from switchboard_coordinator.keys.consumers import Consumers
from switchboard_coordinator.keys.consumers_file import read_consumers
from switchboard_coordinator.peers.peers_file import PeersFile, read_peers
from switchboard_coordinator.settings import CoordinatorSettings

from .exits import EX_CONFIG, stop


def read_configuration(*, with_passwords: bool = True) -> tuple[CoordinatorSettings, PeersFile, Consumers]:
    """Everything that an operator wrote, or an end with all mistakes.

    `with_passwords` says whether the peers' password files count: who looks at each of them anyway reads them himself.
    """
    problems: list[str] = []
    try:
        settings = load(CoordinatorSettings, os.environ)
    except MistakesFound as error:
        stop(EX_CONFIG, *error.problems)
    try:
        check_address(settings.listen_address, settings.allow_untrusted_bind, "SWITCHBOARD_COORDINATOR_LISTEN_ADDRESS")
    except UntrustedAddress as error:
        problems.append(str(error))
    peers, consumers = PeersFile.model_construct(peers={}), Consumers({})
    try:
        peers = read_peers(settings.peers_file)
    except MistakesFound as error:
        problems += error.problems
    for peer in peers.peers.values() if with_passwords else ():
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
        stop(EX_CONFIG, *problems)
    return settings, peers, consumers
