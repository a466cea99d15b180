"""The peers as they are known now: an immutable snapshot, replaced whole when something changes. Pure."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from switchboard_coordinator.address import FLEET, Address

from .health import LET_IN, NEVER_LOOKED, Found, LastTurn, Levels, PeerState, State, summed_up
from .peers_file import PeersFile

DRAINED = "it is drained: groups are without it, and what is named to it waits"
TURN_TIMES_DIFFER = timedelta(seconds=1)
"""A turn that ended as the one before it renews the time of the last one no more often than this."""


@dataclass(frozen=True, slots=True)
class ProfileStatus:
    """One address and how it was found last."""

    address: Address
    capabilities: tuple[str, ...]
    levels: Levels = NEVER_LOOKED
    since: datetime | None = None
    agent_version: str | None = None
    last_turn: LastTurn | None = None

    @property
    def state(self) -> State:
        """In one word."""
        return self.levels.state

    @property
    def detail(self) -> str | None:
        """Why it is not up."""
        return self.levels.detail


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """One machine and how it was found last."""

    name: str
    host: str
    port: int
    max_turns: int
    profiles: Mapping[str, ProfileStatus]
    levels: Levels = NEVER_LOOKED
    since: datetime | None = None
    round_trip_ms: float | None = None
    credential: str | None = None
    """Which of its two passwords the proxy was shown last: `current` or `next`."""
    draining_since: datetime | None = None
    is_tls: bool = False

    @property
    def state(self) -> PeerState:
        """Its profiles' states summed up, once its proxy lets us in; `draining` in place of those that take turns."""
        return self._summed_up[0]

    @property
    def detail(self) -> str | None:
        """Why it is not up."""
        return self._summed_up[1]

    @property
    def is_draining(self) -> bool:
        """Whether it gets no new turns, however it was found."""
        return self.draining_since is not None

    @property
    def _summed_up(self) -> tuple[PeerState, str | None]:
        state, detail = self._found
        if not self.is_draining or state not in ("up", "degraded"):
            return state, detail
        return "draining", f"{DRAINED}; {detail}" if detail else DRAINED

    @property
    def _found(self) -> tuple[State, str | None]:
        if self.levels == LET_IN:
            return summed_up({name: profile.levels for name, profile in self.profiles.items()})
        return self.levels.state, self.levels.detail


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
        self._listeners: list[Callable[[str], None]] = []
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
                        is_tls=entry.tls,
                    )
                    for name, entry in peers.peers.items()
                }
            )
        )

    def note(
        self,
        peer: str,
        levels: Levels,
        profiles: Mapping[str, Found],
        round_trip_ms: float | None,
        credential: str | None = None,
    ) -> None:
        """Take over what a look at this peer found; a profile without a word of its own is as its peer."""
        before = self.now.peers[peer]
        now = datetime.now(UTC)
        after = replace(
            before,
            levels=levels,
            round_trip_ms=round_trip_ms,
            credential=credential,
            profiles=MappingProxyType(
                {
                    name: _noted(status, profiles.get(name, Found(levels)), now)
                    for name, status in before.profiles.items()
                }
            ),
        )
        if before.since is None or before.state != after.state:
            after = replace(after, since=now)
        self._put(after, is_news=replace(after, round_trip_ms=before.round_trip_ms) != before)

    def drained(self, peer: str, since: datetime | None) -> None:
        """It gets no new turns since then; None: it does again."""
        before = self.now.peers[peer]
        after = replace(before, draining_since=since)
        if before.state != after.state:
            after = replace(after, since=datetime.now(UTC))
        self._put(after, is_news=after != before)

    def knows(self, address: Address) -> bool:
        """Whether there is such an address."""
        peer = self.now.peers.get(address.peer)
        return peer is not None and address.profile in peer.profiles

    def turned(self, address: Address, outcome: str, code: str | None = None) -> None:
        """A real turn of this address has ended: `outcome` is its lane's state, `code` its error's."""
        peer = self.now.peers[address.peer]
        profile = peer.profiles[address.profile]
        before, now = profile.last_turn, datetime.now(UTC)
        is_news = before is None or (before.outcome, before.code) != (outcome, code)
        if before is not None and not is_news and now - before.at < TURN_TIMES_DIFFER:
            return
        after = replace(profile, last_turn=LastTurn(outcome, code, now))
        profiles = MappingProxyType({**peer.profiles, address.profile: after})
        self._put(replace(peer, profiles=profiles), is_news=is_news)

    @contextmanager
    def telling(self, listener: Callable[[str], None]) -> Iterator[None]:
        """Call this with a peer's name whenever something but a time of it has changed, in this block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _put(self, peer: PeerStatus, *, is_news: bool) -> None:
        self.now = Snapshot(MappingProxyType({**self.now.peers, peer.name: peer}))
        if is_news:
            for listener in self._listeners:
                listener(peer.name)


def _noted(before: ProfileStatus, found: Found, now: datetime) -> ProfileStatus:
    after = replace(before, levels=found.levels, agent_version=found.agent_version or before.agent_version)
    if before.since is None or before.state != after.state:
        after = replace(after, since=now)
    return after
