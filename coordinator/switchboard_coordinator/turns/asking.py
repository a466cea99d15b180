"""What a turn is asked to be, by whom and on what terms: what `intake` makes of a request and `turns` begins."""

import hashlib
from dataclasses import dataclass

from switchboard_relay import Headers

from switchboard_coordinator.chat import ChatRequest
from switchboard_coordinator.groups.routing import Plan
from switchboard_coordinator.keys.asked import Asked
from switchboard_coordinator.turn import Policy, Transport

from .sessions import Session


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked, by whom, and on what terms.

    Attributes:
        asked: the request that it came with.
        headers: what goes with it to every peer.
        transport: None for what each peer's configuration says.
        session: the client's own word for it.
        key: the Idempotency-Key, and `digest` that of the request that came with it.
        can_approve: whether somebody will answer an agent that asks for an approval.
        before: its session as it was.
        may_move: whether its session may go on at another address than the one that holds its history.
    """

    asked: Asked
    chat: ChatRequest
    plan: Plan
    headers: Headers
    policy: Policy
    transport: Transport | None = None
    session: str | None = None
    key: str | None = None
    digest: bytes | None = None
    deadline_ms: int | None = None
    can_approve: bool = False
    before: Session | None = None
    may_move: bool = False

    @property
    def consumer(self) -> str:
        """Whose turn it is."""
        return self.asked.consumer


def digest_of(*parts: bytes) -> bytes:
    """What tells one request from another under the same Idempotency-Key."""
    return hashlib.sha256(b"\0".join(parts)).digest()
