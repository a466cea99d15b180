"""Where a request goes: the id that it asks for, and the roster, give the plan of its turn. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from switchboard_coordinator.address import MODES, Address, AddressError, Group, parse_target
from switchboard_coordinator.errors import MalformedRequest, ModelNotFound
from switchboard_coordinator.options import Answers, Options
from switchboard_coordinator.peers.roster import ProfileStatus, Snapshot

Mode = Literal["", "any", "first", "all", "quorum", "council"]

_NO_OPTIONS = Options()
_NOBODY_BUSY: Mapping[str, int] = {}
_NO_CHAIRS: Mapping[str, Address] = {}
_HEALTHY = ("up", "degraded")
"""The states in which an address is worth a turn, best first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The lanes of one turn, and how they make one answer.

    A group's turn has a mode even where the group is one address; that of an address has none.
    """

    mode: Mode
    lanes: tuple[Address, ...]
    candidates: tuple[Address, ...] = ()
    """`any`: who is asked in which order, until one takes the turn; the first is the lane."""
    chair: int | None = None
    """`council`: which lane makes one reply of the others' answers: the last."""
    quorum: int | None = None
    """`quorum`: so many lanes are enough."""
    answers: Answers = "sections"

    @property
    def is_group(self) -> bool:
        """Whether a group was asked."""
        return self.mode != ""


def plan(
    model: str,
    snapshot: Snapshot,
    options: Options = _NO_OPTIONS,
    *,
    busy: Mapping[str, int] = _NOBODY_BUSY,
    sticky: Address | None = None,
    is_bound: bool = False,
    chairs: Mapping[str, Address] = _NO_CHAIRS,
) -> Plan:
    """The plan for a model id: `profile@peer`, `peer` or `mode@group`.

    Of a group the peers that are drained are left out, unless all are, the request's quorum needs them, or the session
    must stay there. `busy` is how many turns each peer has, running or waiting; `sticky` where the session is at home,
    and `is_bound` whether it must stay there; `chairs` whom the operator made a group's chair.

    Raises:
        ModelNotFound: no such id; the sentence says what there is.
        MalformedRequest: an option that this id does not have, or that the roster cannot meet.
    """
    try:
        target = parse_target(model)
    except AddressError as error:
        raise ModelNotFound(str(error)) from None
    mode = target.mode if isinstance(target, Group) else ""
    for name, value in (("quorum", options.quorum), ("chair", options.chair)):
        if value is not None and mode != _MODE_OF_OPTION[name]:
            words = f"`{name}` is an option of {_MODE_OF_OPTION[name]}@group; {model} has none"
            raise MalformedRequest(words, param=f"switchboard.{name}")
    if isinstance(target, Address):
        _check(target, snapshot)
        return Plan("", (target,))
    everyone = snapshot.groups.get(target.name)
    if everyone is None:
        raise ModelNotFound(f"there is no group {target.name!r}; there are {', '.join(snapshot.groups)}")
    lanes = _not_draining(everyone, snapshot)
    match target.mode:
        case "any":
            candidates = _candidates(lanes, snapshot, busy, sticky)
            if is_bound and sticky in everyone:
                candidates = (sticky,)
            return Plan("any", candidates[:1], candidates=candidates)
        case "first":
            return Plan("first", lanes)
        case "quorum":
            _check_quorum(options.quorum, target, everyone)
            if options.quorum is not None and options.quorum > len(lanes):
                lanes = everyone
            return Plan("quorum", lanes, quorum=options.quorum or len(lanes) // 2 + 1, answers=options.answers)
        case "council":
            chair = _chair(options.chair, snapshot) or chairs.get(target.name) or _healthiest(lanes, snapshot)
            return Plan("council", (*lanes, chair), chair=len(lanes), answers=options.answers)
    return Plan("all", lanes, answers=options.answers)


_MODE_OF_OPTION = {"quorum": "quorum", "chair": "council"}


def _check(address: Address, snapshot: Snapshot) -> None:
    peer = snapshot.peers.get(address.peer)
    if peer is None:
        raise ModelNotFound(f"there is no peer {address.peer!r}; there are {', '.join(snapshot.peers)}")
    if address.profile not in peer.profiles:
        raise ModelNotFound(
            f"peer {address.peer} has no profile {address.profile!r}; it has {', '.join(peer.profiles)}"
        )


def _status(address: Address, snapshot: Snapshot) -> ProfileStatus:
    return snapshot.peers[address.peer].profiles[address.profile]


def _rank(address: Address, snapshot: Snapshot) -> int:
    """Lower is healthier; all that are not healthy come last, alike."""
    state = _status(address, snapshot).state
    return _HEALTHY.index(state) if state in _HEALTHY else len(_HEALTHY)


def _not_draining(lanes: tuple[Address, ...], snapshot: Snapshot) -> tuple[Address, ...]:
    """Those whose peers are not drained; all where there is no other."""
    return tuple(lane for lane in lanes if not snapshot.peers[lane.peer].is_draining) or lanes


def _candidates(
    lanes: tuple[Address, ...], snapshot: Snapshot, busy: Mapping[str, int], sticky: Address | None
) -> tuple[Address, ...]:
    """The session's home first, then the healthiest, of those the least busy for what it may run, in the file's order.

    Who is down comes last instead of not at all: where all are down, the turn gets the true error.
    """

    def order(address: Address) -> tuple[bool, int, float]:
        rank = _rank(address, snapshot)
        is_home = address == sticky and rank < len(_HEALTHY)
        return not is_home, rank, busy.get(address.peer, 0) / snapshot.peers[address.peer].max_turns

    return tuple(sorted(lanes, key=order))


def _healthiest(lanes: tuple[Address, ...], snapshot: Snapshot) -> Address:
    return min(lanes, key=lambda address: _rank(address, snapshot))


def _check_quorum(asked: int | None, group: Group, lanes: tuple[Address, ...]) -> None:
    if asked is not None and asked > len(lanes):
        words = f"`quorum` is {asked}, and {group} has {len(lanes)} {'lane' if len(lanes) == 1 else 'lanes'}"
        raise MalformedRequest(words, param="switchboard.quorum")


def _chair(asked: Address | None, snapshot: Snapshot) -> Address | None:
    if asked is not None:
        try:
            _check(asked, snapshot)
        except ModelNotFound as error:
            raise MalformedRequest(f"`chair`: {error.words}", param="switchboard.chair") from None
    return asked


def model_ids(snapshot: Snapshot) -> list[str]:
    """Every id that can be asked for: all addresses, offline ones too, then every mode of every group."""
    return [str(profile.address) for profile in snapshot.addresses] + [
        str(Group(mode, name)) for name in snapshot.groups for mode in MODES
    ]
