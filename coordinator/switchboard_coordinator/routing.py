"""Where a request goes: the id that it asks for, and the roster, give the plan of its turn. Pure."""

from dataclasses import dataclass

from .address import Address, AddressError, Group, parse_target
from .errors import ModelNotFound
from .roster import Snapshot

MODES = ("all",)
"""The modes that are built; the other names are reserved."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The lanes of one turn. A group's turn has sections or choices even where the group is one address."""

    lanes: tuple[Address, ...]
    is_group: bool


def plan(model: str, snapshot: Snapshot) -> Plan:
    """The plan for a model id: `profile@peer`, `peer` or `mode@group`.

    Raises:
        ModelNotFound: no such id; the sentence says what there is.
    """
    try:
        target = parse_target(model)
    except AddressError as error:
        raise ModelNotFound(str(error)) from None
    if isinstance(target, Group):
        return _group(target, snapshot)
    return _one(target, snapshot)


def _one(address: Address, snapshot: Snapshot) -> Plan:
    peer = snapshot.peers.get(address.peer)
    if peer is None:
        raise ModelNotFound(f"there is no peer {address.peer!r}; there are {', '.join(snapshot.peers)}")
    if address.profile not in peer.profiles:
        raise ModelNotFound(
            f"peer {address.peer} has no profile {address.profile!r}; it has {', '.join(peer.profiles)}"
        )
    return Plan((address,), is_group=False)


def _group(group: Group, snapshot: Snapshot) -> Plan:
    groups = snapshot.groups
    if group.mode not in MODES:
        raise ModelNotFound(f"mode {group.mode!r} is not there yet; there is {', '.join(MODES)}")
    if group.name not in groups:
        raise ModelNotFound(f"there is no group {group.name!r}; there are {', '.join(groups)}")
    return Plan(groups[group.name], is_group=True)


def model_ids(snapshot: Snapshot) -> list[str]:
    """Every id that can be asked for: all addresses, offline ones too, then every group."""
    return [str(profile.address) for profile in snapshot.addresses] + [
        str(Group(mode, name)) for name in snapshot.groups for mode in MODES
    ]
