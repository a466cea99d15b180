"""One conversation with one peer. Its errors become ours here, and nowhere else."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import orjson
from switchboard_relay import (
    Answer,
    AnswerBroken,
    AnswerInvalid,
    ConnectFailed,
    ConnectTimedOut,
    Headers,
    Pool,
    RelayError,
    Request,
)
from switchboard_service.secret_file import SecretError, SecretFile

from .address import Address
from .chat import is_done
from .errors import (
    AgentUnreachable,
    PeerBadResponse,
    PeerBusy,
    PeerError,
    PeerFailed,
    PeerMisconfigured,
    PeerOutcomeUnknown,
    PeerRejected,
    PeerTimeout,
    PeerUnauthorized,
    PeerUnavailable,
)
from .peers_file import PeerEntry
from .sse import FrameSplitter, FrameTooLong

REFUSAL_LIMIT_BYTES = 64 * 1024
REFUSAL_SECONDS = 5.0
SETTLE_SECONDS = 0.5


class Credential:
    """The Basic pair of one peer. One that was refused is not shown again until its file changes."""

    def __init__(self, user: str, password: SecretFile) -> None:
        """Read the file.

        Raises:
            SecretError: the password file is not fit for use.
        """
        self._user = user
        self._file = password
        self._refused: tuple[int, int, int] | None = None
        self._signature = password.signature()
        self._header = self._read()

    def _read(self) -> bytes:
        pair = f"{self._user}:{self._file.read()}".encode()
        return b"Basic " + base64.b64encode(pair)

    def refuse(self, shown: bytes | None) -> None:
        """The proxy did not take what it was shown; news of a pair that has been replaced meanwhile comes too late."""
        if shown is None or shown == self._header:
            self._refused = self._signature

    def header(self) -> bytes | None:
        """The Authorization value; None while the pair is known to be wrong."""
        if self._refused is None:
            return self._header
        signature = self._file.signature()
        if signature is None or signature == self._refused:
            return None
        with suppress(SecretError):
            self._header = self._read()
            self._signature, self._refused = signature, None
            return self._header
        return None


class PeerAnswer:
    """A peer's chat stream, whole frame by whole frame."""

    def __init__(self, answer: Answer, address: Address) -> None:
        self.headers: Headers = answer.headers
        self.is_done = False
        self._answer = answer
        self._address = address
        self._splitter = FrameSplitter()

    async def frames(self) -> list[bytes]:
        """The next frames, as soon as there are any. May be cancelled and called again: nothing is lost.

        Raises:
            PeerOutcomeUnknown: the stream ended without the mark after which nothing comes.
            RelayError: it broke.
        """
        while True:
            try:
                frames = self._splitter.feed(await anext(self._answer))
            except StopAsyncIteration:
                raise PeerOutcomeUnknown(f"{self._address} ended its answer without its end mark") from None
            except FrameTooLong as error:
                raise PeerBadResponse(f"{self._address} sent {error}") from error
            if frames:
                self.is_done = any(map(is_done, frames))
                return frames

    async def settle(self) -> None:
        """Read what is left after the end mark, so that the connection can be used again."""
        with suppress(TimeoutError, RelayError):  # the answer is whole, however the connection ends
            async with asyncio.timeout(SETTLE_SECONDS):
                async for _ in self._answer:
                    pass


class Peer:
    """One machine: how it is reached, what it is shown, how many turns it runs for us."""

    def __init__(self, name: str, entry: PeerEntry, pool: Pool, credential: Credential) -> None:
        self.name = name
        self.credential = credential
        self._pool = pool
        self.place = entry.authority
        self._max_turns = entry.max_turns
        self._turns = 0

    @asynccontextmanager
    async def ask(self, profile: str, body: bytes, headers: Headers) -> AsyncIterator[PeerAnswer]:
        """Send one chat request, which must ask for a stream, and open its answer.

        Left early, the connection is closed at once: that is what interrupts the agent.

        Raises:
            PeerError: what went wrong, whether before or while the answer came.
        """
        address = Address(profile, self.name)
        credential = self.credential.header()
        if credential is None:
            raise self._wrong_password()
        request = Request(
            b"POST",
            f"/p/{profile}/v1/chat/completions".encode("ascii"),
            (
                (b"host", self.place.encode("ascii")),
                (b"authorization", credential),
                (b"content-length", b"%d" % len(body)),
                *headers,
            ),
            body,
        )
        if self._turns >= self._max_turns:
            error = PeerBusy(f"{self.name} runs {self._turns} turns of ours, as many as its max_turns allows")
            error.retry_after = "1"
            raise error
        self._turns += 1
        try:
            async with self._pool.exchange(request) as answer:
                if answer.status != 200:
                    raise await self._refusal(answer, address, credential)
                _check_is_stream(answer, address)
                peer_answer = PeerAnswer(answer, address)
                yield peer_answer
                if peer_answer.is_done:
                    await peer_answer.settle()
        except RelayError as error:
            raise self._as_ours(error, address) from error
        finally:
            self._turns -= 1

    def _wrong_password(self) -> PeerUnauthorized:
        return PeerUnauthorized(
            f"the proxy of {self.name} refuses the coordinator's user or password: mend its password file"
        )

    def _as_ours(self, error: RelayError, address: Address) -> PeerError:
        if isinstance(error, ConnectTimedOut):
            return PeerTimeout(f"{self.name} does not answer at {self.place}: is the machine awake and on the tailnet?")
        if isinstance(error, ConnectFailed):
            return PeerUnavailable(f"{self.name} takes no connection at {self.place} ({error}): is its proxy running?")
        if isinstance(error, AnswerInvalid):
            return PeerBadResponse(f"what answers at {self.place} for {self.name} does not speak HTTP as a proxy does")
        progress = "broke off its answer" if isinstance(error, AnswerBroken) else "took the turn and gave no answer"
        return PeerOutcomeUnknown(f"{address} {progress} ({error}); it may have run")

    async def _refusal(self, answer: Answer, address: Address, shown: bytes) -> PeerError:
        """What an answer other than 200 means, to a request that showed this credential."""
        headers = {name.lower(): value for name, value in answer.headers}
        status = answer.status
        if status == 401 and b"www-authenticate" in headers:
            self.credential.refuse(shown)
            return self._wrong_password()
        if status == 401:
            return PeerUnauthorized(f"the agent of {address} refuses the API_SERVER_KEY that its proxy puts in")
        told = _told(await _read_refusal(answer))
        words = str(told.get("message") or f"status {status}")
        code = told.get("code")
        error: PeerError
        match code:
            case "agent_unreachable":
                error = AgentUnreachable(f"the proxy of {self.name} answers, its agent does not: {words}")
            case "agent_outcome_unknown":
                error = PeerOutcomeUnknown(f"{self.name}: {words}")
            case "profile_unknown" | "profile_not_served" | "host_refused":
                error = PeerMisconfigured(f"{self.name} does not serve {address.profile}: {words}")
            case _:
                error = self._by_status(status, words, address, told)
        error.retry_after = headers.get(b"retry-after", b"").decode("latin-1") or None
        return error

    def _by_status(self, status: int, words: str, address: Address, told: dict[str, object]) -> PeerError:
        if status == 429:
            return PeerBusy(f"{address} is busy: {words}")
        if status == 503:
            return PeerUnavailable(f"{address} takes no turns now: {words}")
        if 400 <= status < 500:
            code, param = told.get("code"), told.get("param")
            return PeerRejected(
                f"{address} refuses the request: {words}",
                status=status,
                code=code if isinstance(code, str) else None,
                param=param if isinstance(param, str) else None,
            )
        if status >= 500:
            return PeerFailed(f"{address} failed: {words}")
        return PeerBadResponse(f"{address} answers with status {status} where an agent gives 200")


def _check_is_stream(answer: Answer, address: Address) -> None:
    kind = next((value for name, value in answer.headers if name.lower() == b"content-type"), b"")
    if not kind.startswith(b"text/event-stream"):
        raise PeerBadResponse(f"{address} answers with {kind.decode('latin-1') or 'no type'} where an agent streams")


async def _read_refusal(answer: Answer) -> bytes:
    """As much of an error's body as is needed to tell what it says."""
    pieces: list[bytes] = []
    with suppress(TimeoutError, RelayError):
        async with asyncio.timeout(REFUSAL_SECONDS):
            async for piece in answer:
                pieces.append(piece)
                if sum(map(len, pieces)) > REFUSAL_LIMIT_BYTES:
                    break
    return b"".join(pieces)


def _told(body: bytes) -> dict[str, object]:
    """The `error` object of an OpenAI envelope; empty for anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}
