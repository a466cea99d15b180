"""One turn straight through a peer's proxy, past every queue: proves that its agent answers with words."""

import asyncio
import json

from switchboard_coordinator.address import Address
from switchboard_coordinator.chat import Finish, Text, read_frame
from switchboard_coordinator.errors import PeerError, PeerFailed, PeerOutcomeUnknown
from switchboard_coordinator.peers.peer import Peer
from switchboard_coordinator.turns.question import model_of

from .findings import HopFailed

PROMPT = "Reply with the single word pong."
_HEADERS = ((b"content-type", b"application/json"), (b"accept", b"text/event-stream"))


async def ask(peer: Peer, profile: str, seconds: float) -> str:
    """What it answers. Asked once, whatever comes.

    Raises:
        HopFailed: no whole answer with words came within `seconds`.
    """
    address = Address(profile, peer.name)
    try:
        async with asyncio.timeout(seconds):
            text, finish = await _heard(peer, address)
    except TimeoutError:
        raise HopFailed("turn_late", f"the turn did not end within {seconds:g} s") from None
    except PeerError as error:
        raise HopFailed(_code(error), error.words) from None
    if finish.failure is not None:
        raise HopFailed("turn_failed", PeerFailed(f"{address} failed: {finish.failure}").words)
    if finish.reason != "stop":
        raise HopFailed("turn_cut", f"the turn ended with `{finish.reason}`, not `stop`")
    if not text.strip():
        raise HopFailed("turn_wordless", "the turn ended well, and without a word")
    return text


async def _heard(peer: Peer, address: Address) -> tuple[str, Finish]:
    """The whole text, and how it ended."""
    messages = [{"role": "user", "content": PROMPT}]
    body = json.dumps({"model": model_of(address), "stream": True, "messages": messages}).encode()
    text, finish = "", Finish("stop", None, None)
    async with peer.chat(address.profile, body, _HEADERS) as stream:
        while not stream.is_done:
            for frame in await stream.next():
                match read_frame(frame):
                    case Text(piece):
                        text += piece
                    case Finish() as finish:
                        pass
    return text, finish


def _code(error: PeerError) -> str:
    if isinstance(error, PeerFailed):
        return "turn_failed"
    if isinstance(error, PeerOutcomeUnknown):
        return "turn_broken"
    return "turn_refused" if error.status in (429, 503) else "turn_odd"
