"""One machine: asks its proxy, and makes its errors ours here and nowhere else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote

from switchboard_relay import Answer, ConnectFailed, ConnectTimedOut, Headers, Pool, RelayError, Request

from switchboard_coordinator import lenient_json
from switchboard_coordinator.address import DEFAULT_PROFILE, Address
from switchboard_coordinator.chat import is_done
from switchboard_coordinator.errors import PeerBadResponse, PeerOutcomeUnknown, PeerUnavailable
from switchboard_coordinator.sse import FrameSplitter, FrameTooLong

from .breaker import Breaker
from .credential import Credential
from .peers_file import PeerEntry
from .refusal import broken, is_the_proxys, is_wrong_password, refused, wrong_password

REFUSAL_LIMIT_BYTES = 64 * 1024
REFUSAL_SECONDS = 5.0
SETTLE_SECONDS = 0.5
VANISHED_SECONDS = 30.0
"""A proxy that answers nothing for so long is given up, with all that is open there."""
BODY_LIMIT_BYTES = 64 * 1024 * 1024
"""So much of a JSON answer is read: a run's output, a session's messages."""


class Frames:
    """A peer's event stream, whole frame by whole frame."""

    def __init__(self, answer: Answer, address: Address, heard: Callable[[], None]) -> None:
        """`heard` is called for everything that comes."""
        self.headers: Headers = answer.headers
        self._answer = answer
        self._address = address
        self._heard = heard
        self._splitter = FrameSplitter()

    async def next(self) -> list[bytes]:
        """The next frames, as soon as there are any; none once the stream has ended.

        Raises:
            PeerBadResponse: it is no event stream.
            RelayError: it broke.
        """
        while True:
            try:
                frames = self._splitter.feed(await anext(self._answer))
            except StopAsyncIteration:
                return []
            except FrameTooLong as error:
                raise PeerBadResponse(f"{self._address} sent {error}") from error
            self._heard()
            if frames:
                return frames

    async def settle(self) -> None:
        """Read what is left after the end mark, so that the connection can be used again."""
        if self._answer.is_complete:
            return
        with suppress(TimeoutError, RelayError):  # the answer is whole, however the connection ends
            async with asyncio.timeout(SETTLE_SECONDS):
                async for _ in self._answer:
                    pass


class ChatStream(Frames):
    """The answer of a chat request: it ends with its end mark."""

    is_done = False

    async def next(self) -> list[bytes]:
        """The next frames.

        Raises:
            PeerOutcomeUnknown: the stream ended without the mark after which nothing comes.
            PeerBadResponse: it is no event stream.
            RelayError: it broke.
        """
        frames = await super().next()
        if not frames:
            raise PeerOutcomeUnknown(f"{self._address} ended its answer without its end mark")
        self.is_done = is_done(frames[-1]) or any(map(is_done, frames))
        return frames


class Peer:
    """How one machine is reached, and what it is shown."""

    def __init__(self, name: str, entry: PeerEntry, pool: Pool, credential: Credential, breaker: Breaker) -> None:
        self.name = name
        self.credential = credential
        self.breaker = breaker
        self.place = entry.authority
        self._pool = pool
        self._host = entry.authority.encode("ascii")
        self._open: set[asyncio.Timeout] = set()
        self._silent_since: float | None = None

    def close(self) -> None:
        """Close what is idle."""
        self._pool.close()

    def check_there(self) -> None:
        """Raise PeerUnavailable at once where a connect is known to be in vain."""
        if self.breaker.is_away(asyncio.get_running_loop().time()):
            raise self._away()

    def _away(self) -> PeerUnavailable:
        return PeerUnavailable(
            f"{self.name} takes no connection at {self.place}, as a moment ago: is the machine awake and on the "
            "tailnet, and its proxy running?"
        )

    @asynccontextmanager
    async def chat(self, profile: str, body: bytes, headers: Headers) -> AsyncIterator[ChatStream]:
        """Send one chat request, which must ask for a stream, and open its answer.

        Left early, the connection is closed at once: that is what interrupts the agent.

        Raises:
            PeerError: what went wrong, whether before or while the answer came.
        """
        address = Address(profile, self.name)
        path = f"/p/{profile}/v1/chat/completions"
        async with self._asked(b"POST", path, address, headers, body) as answer:
            await self._check(answer, address, 200)
            _check_is_stream(answer, address)
            stream = ChatStream(answer, address, self.was_heard)
            yield stream
            if stream.is_done:
                await stream.settle()

    @asynccontextmanager
    async def raw(
        self, method: bytes, profile: str, target: bytes, headers: Headers, body: bytes
    ) -> AsyncIterator[Answer]:
        """Send a request to the agent's API and open its answer, whatever its status; `target` begins with `/v1/`.

        Raises:
            PeerError: what went wrong, whether before or while the answer came; a wrong secret, and whatever else the
                proxy answers in the agent's place.
        """
        address = Address(profile, self.name)
        path = f"/p/{profile}{target.decode('latin-1')}"
        async with self._asked(method, path, address, headers, body) as answer:
            if answer.status == 401 or is_the_proxys(answer.headers):
                await self._check(answer, address)
            yield answer

    @asynccontextmanager
    async def events(
        self, profile: str, path: str, *, method: bytes = b"GET", headers: Headers = (), body: bytes = b""
    ) -> AsyncIterator[Frames]:
        """Open an event stream of the agent's. It is asked for once: who asks takes what he is told from others.

        Raises:
            PeerError: what went wrong, whether before or while it came.
        """
        address = Address(profile, self.name)
        async with self._asked(method, f"/p/{profile}{path}", address, headers, body, once=True) as answer:
            await self._check(answer, address, 200)
            _check_is_stream(answer, address)
            yield Frames(answer, address, self.was_heard)

    async def call(
        self, method: bytes, profile: str, path: str, *, headers: Headers = (), body: object = None
    ) -> dict[str, Any]:
        """Ask for a JSON object.

        Raises:
            PeerError: what went wrong.
        """
        # Not orjson's: it refuses numbers of more than 64 bits and half surrogates, which clients' messages may hold.
        sent = b"" if body is None else json.dumps(body).encode()
        return await self._json(method, f"/p/{profile}{path}", Address(profile, self.name), headers, sent)

    async def _json(
        self, method: bytes, path: str, address: Address, headers: Headers = (), body: bytes = b""
    ) -> dict[str, Any]:
        async with self._asked(method, path, address, headers, body) as answer:
            await self._check(answer, address, 200, 202)
            value = _json(await answer.read(BODY_LIMIT_BYTES))
        if value is None:
            raise PeerBadResponse(f"{address} answers {path} with what is no JSON object")
        return value

    async def session_messages(self, session_id: str) -> list[dict[str, Any]]:
        """What the default profile's agent has stored of a session, oldest first.

        Raises:
            PeerError: what went wrong, or the agent knows no such session.
        """
        path = f"/agent/api/sessions/{quote(session_id, safe='')}/messages"
        told = await self._json(b"GET", path, Address(DEFAULT_PROFILE, self.name))
        return [message for message in told.get("data", ()) if isinstance(message, dict)]

    @asynccontextmanager
    async def _asked(
        self, method: bytes, path: str, address: Address, headers: Headers, body: bytes, *, once: bool = False
    ) -> AsyncIterator[Answer]:
        if self.breaker.refuses(asyncio.get_running_loop().time()):
            raise self._away()
        credential = self.credential.header()
        if credential is None:
            raise wrong_password(self.name)
        request = Request(
            method,
            path.encode("ascii"),
            (
                (b"host", self._host),
                (b"authorization", credential),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ),
            body,
            is_repeatable=not once,
        )
        patience = asyncio.timeout(None)
        self._open.add(patience)
        try:
            async with patience, self._pool.exchange(request) as answer:
                self.breaker.succeeded()
                if is_wrong_password(answer.status, answer.headers):
                    self.credential.refuse(credential)
                yield answer
        except RelayError as error:
            if isinstance(error, ConnectFailed | ConnectTimedOut):
                self.breaker.failed(asyncio.get_running_loop().time())
            raise broken(error, address, self.place) from error
        except TimeoutError as error:
            if not patience.expired():
                raise
            raise PeerOutcomeUnknown(f"{self.name} has stopped answering altogether; {address} may have run") from error
        finally:
            self._open.discard(patience)

    def fell_silent(self, since: float) -> None:
        """Nothing was heard of the proxy since then, in the loop's time. After `VANISHED_SECONDS` open exchanges end.

        A machine that stands still with its network alive acknowledges everything, so that no connection breaks.
        """
        if self._silent_since is None:
            self._silent_since = since
        now = asyncio.get_running_loop().time()
        if now - self._silent_since >= VANISHED_SECONDS:
            for patience in self._open:
                patience.reschedule(now)

    def was_heard(self) -> None:
        """The proxy has said something."""
        self._silent_since = None

    @staticmethod
    async def _check(answer: Answer, address: Address, *hoped_for: int) -> None:
        if answer.status not in hoped_for:
            body = b""
            with suppress(TimeoutError, RelayError):
                async with asyncio.timeout(REFUSAL_SECONDS):
                    body = await answer.read(REFUSAL_LIMIT_BYTES)
            raise refused(answer.status, answer.headers, body, address)


def _check_is_stream(answer: Answer, address: Address) -> None:
    kind = next((value for name, value in answer.headers if name.lower() == b"content-type"), b"")
    if not kind.startswith(b"text/event-stream"):
        raise PeerBadResponse(f"{address} answers with {kind.decode('latin-1') or 'no type'} where an agent streams")


def _json(body: bytes) -> dict[str, Any] | None:
    try:
        value = lenient_json.loads(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
