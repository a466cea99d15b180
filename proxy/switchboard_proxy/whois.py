"""Who calls, as the tailscaled of this machine knows it.

Asks its LocalAPI over its unix socket (tailscale's source: ipn/localapi `serveWhoIs`, `apitype.WhoIsResponse`,
`tailcfg.Node`). An address of the tailnet belongs to one node, whatever the port; any user of the machine may ask.
Where there is no answer, that is said, and nobody is taken for somebody.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, Field, ValidationError

ANSWER_SECONDS = 2.0
BELIEVED_SECONDS = 30.0
ADDRESSES = 1024
"""As many answers are kept at once; a new one takes the place of the one that was asked for least recently."""

_LONGEST_ANSWER = 1 << 20


class WhoisUnavailable(Exception):
    """The local tailscaled did not say who calls: nobody may pass. The text is safe to show."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One node of the tailnet. Names are in lower case."""

    node: str
    """The whole MagicDNS name, without the last dot: `nas.tail1234.ts.net`. Empty where it has none that we see."""
    short_name: str | None
    """`nas`. None for a node of another tailnet, which may have taken any name there."""
    tags: tuple[str, ...] = ()
    """`tag:…`, of this tailnet: those of another one were given by others."""
    login: str | None = None
    """The user that the node belongs to. A tagged node belongs to none."""


def is_allowed(caller: Caller | None, allowed: Collection[str]) -> bool:
    """Whether the caller has one of these node names, short or whole, or one of these tags."""
    if caller is None:
        return False
    names = {name for name in (caller.node, caller.short_name) if name}
    return any(entry in caller.tags or entry.lower().removesuffix(".") in names for entry in allowed)


class Whois:
    """Asks, and believes an answer for a while. Callers at one address who ask at the same time share one question."""

    def __init__(
        self, socket: Path, *, answer_seconds: float = ANSWER_SECONDS, believed_seconds: float = BELIEVED_SECONDS
    ) -> None:
        self._socket = socket
        self._answer_seconds, self._believed_seconds = answer_seconds, believed_seconds
        self._answers: OrderedDict[str, tuple[float, Caller | None]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Caller | None]] = {}

    async def ask(self, address: str) -> Caller | None:
        """The node at this IP address; None where the tailnet has no such node.

        Raises:
            WhoisUnavailable: tailscaled is not there, does not answer in time, or answers what is no answer.
        """
        until, caller = self._answers.get(address, (0.0, None))
        if asyncio.get_running_loop().time() < until:
            self._answers.move_to_end(address)
            return caller
        if (asking := self._asking.get(address)) is None:
            # A task of its own, for who asked first may leave first. It ends within its own time, whoever waits for it.
            asking = self._asking[address] = asyncio.create_task(self._ask(address))
            asking.add_done_callback(_seen)
        return await asyncio.shield(asking)

    async def _ask(self, address: str) -> Caller | None:
        try:
            if (question := _question(address)) is None:
                return None
            async with asyncio.timeout(self._answer_seconds):
                caller = _read(await self._exchange(question))
        except TimeoutError:
            raise WhoisUnavailable("tailscaled does not say in time who calls") from None
        except OSError as error:
            raise WhoisUnavailable(f"tailscaled cannot be asked who calls: {error.strerror or error}") from error
        finally:
            del self._asking[address]
        self._answers[address] = asyncio.get_running_loop().time() + self._believed_seconds, caller
        self._answers.move_to_end(address)
        if len(self._answers) > ADDRESSES:
            self._answers.popitem(last=False)
        return caller

    async def _exchange(self, question: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._socket)
        try:
            writer.write(question)
            answer = b""
            while piece := await reader.read(65536):
                answer += piece
                if len(answer) > _LONGEST_ANSWER:
                    raise WhoisUnavailable("tailscaled answers without end when asked who calls")
            return answer
        finally:
            writer.close()


def _seen(asked: asyncio.Task[Caller | None]) -> None:
    """Nobody may be left to hear of an error: asyncio would report it."""
    if not asked.cancelled():
        asked.exception()


def _question(address: str) -> bytes | None:
    """The request; None where the text is no address that a node can have.

    HTTP/1.0: the answer is then not chunked (RFC 9112 §6.1), and ends with the connection.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.scope_id is not None:
            return None
        ip = ip.ipv4_mapped or ip
    # Port 0 is enough for an address of the tailnet; an older tailscaled refuses an address without any.
    asked = quote(f"[{ip}]:0" if ip.version == 6 else f"{ip}:0", safe="")
    return f"GET /localapi/v0/whois?addr={asked} HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n".encode("ascii")


def _read(answer: bytes) -> Caller | None:
    head, end, body = answer.partition(b"\r\n\r\n")
    status = head[9:12] if end and head.startswith(b"HTTP/1.") else b""
    if status == b"404":
        return None
    if status != b"200":
        raise WhoisUnavailable(
            f"tailscaled answers {status.decode('ascii', 'replace') or 'no HTTP'} when asked who calls"
        )
    try:
        told = _WhoIsResponse.model_validate_json(body)
    except ValidationError:
        raise WhoisUnavailable("tailscaled answers what is not understood when asked who calls") from None
    node = told.node
    name = node.name.lower().removesuffix(".")
    is_of_another_tailnet = node.sharer != 0 or (node.hostinfo is not None and node.hostinfo.is_sharee)
    short_name = node.computed_name.lower()
    if is_of_another_tailnet or not short_name or "." in short_name or not name.startswith(short_name + "."):
        short_name = ""  # without MagicDNS tailscaled puts there what the node calls itself
    return Caller(
        name,
        short_name or None,
        () if is_of_another_tailnet else tuple(node.tags or ()),
        None if node.tags else told.user_profile.login_name,
    )


class _Hostinfo(BaseModel):
    is_sharee: bool = Field(False, alias="ShareeNode")
    """A node of somebody that this machine is shared with."""


class _Node(BaseModel):
    name: str = Field("", alias="Name")
    computed_name: str = Field("", alias="ComputedName")
    """The short name; of a node of another tailnet the whole one; without MagicDNS what the node calls itself."""
    sharer: int = Field(0, alias="Sharer")
    """Who shared this node into the tailnet, if somebody did."""
    tags: list[str] | None = Field(None, alias="Tags")
    hostinfo: _Hostinfo | None = Field(None, alias="Hostinfo")


class _UserProfile(BaseModel):
    login_name: str = Field(alias="LoginName")
    """`tagged-devices` for every tagged node."""


class _WhoIsResponse(BaseModel):
    node: _Node = Field(alias="Node")
    user_profile: _UserProfile = Field(alias="UserProfile")
