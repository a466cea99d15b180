"""The peers as they are known now: an immutable snapshot, replaced whole when something changes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal

from .address import FLEET, Address
from .peers_file import PeersFile

State = Literal["up", "degraded", "unauthorized", "down"]


@dataclass(frozen=True, slots=True)
class ProfileStatus:
    """One address and how it was found last."""

    address: Address
    capabilities: tuple[str, ...]
    state: State = "down"
    since: datetime | None = None
    detail: str | None = "has not been asked yet"
    agent_version: str | None = None


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One machine and how it was found last. `state` sums up its profiles once its proxy answers."""

    name: str
    host: str
    port: int
    max_turns: int
    profiles: Mapping[str, ProfileStatus]
    state: State = "down"
    since: datetime | None = None
    detail: str | None = "has not been asked yet"
    round_trip_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What one look at a peer or profile found."""

    state: State
    detail: str | None = None
    agent_version: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All peers at one moment."""

    peers: Mapping[str, PeerStatus]

    @property
    def addresses(self) -> list[ProfileStatus]:
        """Every profile of every peer, in the order of the peers file."""
        return [profile for peer in self.peers.values() for profile in peer.profiles.values()]

    @property
    def groups(self) -> dict[str, tuple[Address, ...]]:
        """Group name to its addresses: `fleet` is all, the others share a capability."""
        groups: dict[str, list[Address]] = {FLEET: []}
        for profile in self.addresses:
            for name in (FLEET, *profile.capabilities):
                groups.setdefault(name, []).append(profile.address)
        return {name: tuple(addresses) for name, addresses in groups.items()}


class Roster:
    """Holds the snapshot that is true now."""

    def __init__(self, peers: PeersFile) -> None:
        self.now = Snapshot(
            MappingProxyType(
                {
                    name: PeerStatus(
                        name,
                        entry.host,
                        entry.port,
                        entry.max_turns,
                        MappingProxyType(
                            {
                                profile: ProfileStatus(Address(profile, name), tuple(told.capabilities))
                                for profile, told in entry.profiles.items()
                            }
                        ),
                    )
                    for name, entry in peers.peers.items()
                }
            )
        )

    def note(self, peer: str, found: Found, profiles: Mapping[str, Found], round_trip_ms: float | None) -> None:
        """Take over what a look at this peer found; a profile without a word of its own is as its peer."""
        before = self.now.peers[peer]
        now = datetime.now(UTC)
        after = replace(
            before,
            state=found.state,
            since=before.since if before.since and before.state == found.state else now,
            detail=found.detail,
            round_trip_ms=round_trip_ms,
            profiles=MappingProxyType(
                {name: _noted(status, profiles.get(name, found), now) for name, status in before.profiles.items()}
            ),
        )
        self.now = Snapshot(MappingProxyType({**self.now.peers, peer: after}))


def _noted(before: ProfileStatus, found: Found, now: datetime) -> ProfileStatus:
    return replace(
        before,
        state=found.state,
        since=before.since if before.since and before.state == found.state else now,
        detail=found.detail,
        agent_version=found.agent_version or before.agent_version,
    )


def summed_up(profiles: Mapping[str, Found]) -> Found:
    """A peer's state from its profiles', once its proxy answers."""
    states = {found.state for found in profiles.values()}
    if states == {"up"}:
        return Found("up")
    worst = "; ".join(f"{name}: {found.detail}" for name, found in profiles.items() if found.state != "up")
    if len(states) == 1:
        return Found(states.pop(), worst)
    return Found("degraded", worst)
