"""Walks to every peer at once, hop by hop, as the coordinator would go; needs no coordinator that runs."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from switchboard_relay import Pool
from switchboard_service.mistakes import nearest
from switchboard_service.secret_file import SecretError

from switchboard_coordinator.peers.breaker import Breaker
from switchboard_coordinator.peers.credential import Credential
from switchboard_coordinator.peers.health import Found
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.peers.peers_file import PeerEntry

from . import route, turn
from .door import Door
from .findings import HopFailed, Walk
from .remedies import Places

SHOWN_CHARACTERS = 80
"""So much of an answer is told."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all walks have in common.

    Attributes:
        is_any_address_trusted: the operator said so; else a peer must be in a tailnet or on this machine.
        turn_seconds: how long a turn may take; None asks for none.
    """

    peers: Mapping[str, PeerEntry]
    peers_file: Path
    secrets_folder: Path
    is_any_address_trusted: bool
    turn_seconds: float | None


async def walk_to(names: Sequence[str], ground: Ground) -> list[Walk]:
    """The ways to these peers, in this order."""
    async with asyncio.TaskGroup() as tasks:
        walks = [tasks.create_task(_walk(name, ground)) for name in names]
    return [task.result() for task in walks]


async def _walk(name: str, ground: Ground) -> Walk:
    entry = ground.peers.get(name)
    walk = Walk(_places(name, entry, ground))
    walk.versions = dict.fromkeys(entry.profiles if entry is not None else ())
    with suppress(HopFailed):
        with walk.hop("name"):
            if entry is None:
                other = nearest(name, ground.peers)
                raise HopFailed("unknown_peer", f"{ground.peers_file} names no peer `{name}`{other}")
        await _to_the_port(entry, ground, walk)
        await _through_the_door(name, entry, ground, walk)
    return walk


def _places(name: str, entry: PeerEntry | None, ground: Ground) -> Places:
    if entry is None:
        return Places(name, ground.peers_file)
    password_file = entry.password(ground.secrets_folder).path
    return Places(name, ground.peers_file, entry.host, entry.port, password_file)


async def _to_the_port(entry: PeerEntry, ground: Ground, walk: Walk) -> None:
    with walk.hop("address") as step:
        addresses = await route.resolve(entry.host, entry.port)
        step.detail = ", ".join(map(str, addresses))
    with walk.hop("tailnet") as step:
        outsider = route.outsider(addresses)
        if outsider is not None and not ground.is_any_address_trusted:
            raise HopFailed("outside_tailnet", f"{entry.host} is {outsider}, which others than the tailnet can reach")
        ways = [(own, to) for to in addresses if (own := route.own_address(to, entry.port)) is not None]
        if not ways:
            words = f"the tailnet is down on this machine: no address of its own leads to {addresses[0]}"
            raise HopFailed("tailnet_down", words)
        own, to = ways[0]
        step.detail = f"from {own} to {to}"
    with walk.hop("port"):
        await route.connect(to, entry.port)


async def _through_the_door(name: str, entry: PeerEntry, ground: Ground, walk: Walk) -> None:
    door = Door(entry)
    credential: Credential | None = None
    refusal: HopFailed | None = None
    profiles: Mapping[str, Found] = {}
    with walk.hop("proxy"):
        await door.check_keeper()
        try:
            credential = Credential(entry.user, entry.password(ground.secrets_folder))
        except SecretError as error:
            refusal = HopFailed("password_unfit", str(error))
        else:
            let = await door.knock(credential.header() or b"", entry.profiles)
            profiles, refusal = let.profiles, let.refusal
    with walk.hop("credential"):
        if refusal is not None:
            raise refusal
    if credential is not None:
        peer = Peer(name, entry, Pool(entry.host, entry.port, is_tls=entry.tls), credential, Breaker())
        await _to_the_profiles(peer, profiles, ground.turn_seconds, asyncio.Semaphore(entry.max_turns), walk)
        peer.close()


async def _to_the_profiles(
    peer: Peer, profiles: Mapping[str, Found], turn_seconds: float | None, places: asyncio.Semaphore, walk: Walk
) -> None:
    walk.versions |= {profile: found.agent_version for profile, found in profiles.items()}
    sides = [walk.aside() for _ in profiles]
    async with asyncio.TaskGroup() as tasks:
        for (profile, found), side in zip(profiles.items(), sides, strict=True):
            tasks.create_task(_to_the_profile(peer, profile, found, turn_seconds, places, side))
    for side in sides:
        walk.steps += side.steps


async def _to_the_profile(
    peer: Peer, profile: str, found: Found, turn_seconds: float | None, places: asyncio.Semaphore, walk: Walk
) -> None:
    levels = found.levels
    with suppress(HopFailed):
        if levels.proxy.state != "failed":
            with walk.hop("agent", profile) as step:
                step.detail = levels.agent.detail if levels.agent.state == "degraded" else found.agent_version
                if found.reported == "unreachable":
                    raise HopFailed("agent_unreachable", str(levels.detail))
                if levels.credential.state == "failed":
                    raise HopFailed("agent_refuses_key", str(levels.detail))
        with walk.hop("profile", profile):
            if levels.proxy.state == "failed":
                raise HopFailed("profile_unknown", str(levels.detail))
            if levels.agent.state == "failed":
                raise HopFailed("profile_not_served", str(levels.detail))
        if turn_seconds is not None:
            async with places:
                with walk.hop("turn", profile) as step:
                    answer = await turn.ask(peer, profile, turn_seconds)
                    step.detail = " ".join(answer.split())[:SHOWN_CHARACTERS]
