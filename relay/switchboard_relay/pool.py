"""The connections to one origin, and the exchange that borrows one of them."""

import asyncio
import os
import ssl
from functools import cache
from time import monotonic
from types import TracebackType

from .connection import Answer, Connection
from .errors import AnswerMissing, ConnectFailed, ConnectTimedOut
from .wire import Request

CONNECT_SECONDS = 5.0
UNSAFE_IDLE_SECONDS = 1.0
"""A request that must not run twice rides only a connection that was used a moment ago."""
IDLE_SECONDS = 4.0
"""Below the shortest keep-alive of the servers behind us (uvicorn closes idle connections after 5 s)."""
IDLE_CONNECTIONS = 64


class Pool:
    """Connections to `host:port`. Any number may be in use; idle ones are kept for a few seconds.

    Where it `is_tls`, what answers there has to show a certificate for `host`, of an authority that is trusted here.
    There is no read timeout: an upstream may be silent for minutes. A vanished machine is noticed by TCP.
    """

    def __init__(self, host: str, port: int, *, is_tls: bool = False, connect_seconds: float = CONNECT_SECONDS) -> None:
        self.host = host
        self.port = port
        self._tls = _trust() if is_tls else None
        self._connect_seconds = connect_seconds
        self._idle: list[Connection] = []  # the most recently used last

    def exchange(self, request: Request) -> "Exchange":
        """One request and its answer: `async with pool.exchange(request) as answer`."""
        return Exchange(self, request)

    def close(self) -> None:
        """Close what is idle; exchanges under way go on."""
        while self._idle:
            self._idle.pop().close()

    def take(self, *, is_safe: bool) -> Connection | None:
        """An idle connection that may carry such a request, if there is one."""
        allowed_seconds = IDLE_SECONDS if is_safe else UNSAFE_IDLE_SECONDS
        now = monotonic()
        while self._idle:
            if now - self._idle[-1].idle_since >= allowed_seconds:
                return None
            connection = self._idle.pop()
            if connection.is_idle_and_silent:
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        """Keep a connection whose exchange ended well, and drop those that nobody may use any more."""
        connection.rest()
        self._idle.append(connection)
        while connection.idle_since - self._idle[0].idle_since >= IDLE_SECONDS or len(self._idle) > IDLE_CONNECTIONS:
            self._idle.pop(0).close()

    async def connect(self) -> Connection:
        """A new connection.

        Raises:
            ConnectFailed: refused, unreachable or unknown, or without the TLS that was asked for.
            ConnectTimedOut: not accepted in time.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_seconds):
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self._tls)
        except TimeoutError as error:
            raise ConnectTimedOut(f"no connection within {self._connect_seconds:g} s") from error
        except OSError as error:
            raise ConnectFailed(_words(error)) from error
        except UnicodeError as error:  # from the lookup of a name that DNS cannot hold
            raise ConnectFailed(f"{self.host} is no name of a host") from error
        return connection


@cache
def _trust() -> ssl.SSLContext:
    """Whom this machine trusts; OpenSSL's SSL_CERT_FILE and SSL_CERT_DIR name others."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _words(error: OSError) -> str:
    """The system's words; asyncio puts its own, with the address, in their place."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        return f"it does not speak TLS as it should: {error.reason}"
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or "it closed the connection before TLS was agreed on"


class Exchange:
    """Opens one exchange and ends it on every way out of its block.

    Left before the answer was complete, the upstream connection is closed at once: that is what stops the work there.
    A safe request is repeated once, silently, when the connection that it reused turns out to be dead.
    """

    __slots__ = ("_connection", "_is_sent", "_pool", "_request", "_sending")

    def __init__(self, pool: Pool, request: Request) -> None:
        self._pool = pool
        self._request = request
        self._connection: Connection | None = None
        self._sending: asyncio.Task[None] | None = None
        self._is_sent = True

    async def __aenter__(self) -> Answer:
        """Send the request and wait for the head of its answer.

        Raises:
            ConnectFailed: nothing was sent.
            AnswerMissing: it was sent and may have been acted upon.
            AnswerInvalid: something came, but no answer.
            ValueError: the request cannot be written as HTTP.
        """
        reused = self._pool.take(is_safe=self._request.is_safe)
        if reused is not None:
            try:
                return await self._ask(reused)
            except AnswerMissing:
                if not self._request.is_safe:
                    raise
        return await self._ask(await self._pool.connect())

    async def _ask(self, connection: Connection) -> Answer:
        self._connection = connection
        try:
            connection.begin(self._request)
            if not isinstance(self._request.body, bytes):
                self._is_sent = False
                self._sending = asyncio.create_task(self._send(connection))
            while not connection.reader.is_head_complete:
                await connection.arrival()
        except BaseException:
            self._end(is_reusable=False)
            raise
        return Answer(connection)

    async def _send(self, connection: Connection) -> None:
        body = self._request.body
        assert not isinstance(body, bytes)  # noqa: S101 - for the type checker
        try:
            self._is_sent = await connection.send(body, is_chunked=self._request.is_chunked)
        except Exception as error:  # noqa: BLE001 - whatever broke the body breaks the exchange
            connection.fail(error)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(is_reusable=True)

    def _end(self, *, is_reusable: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._sending is not None:
            self._sending.cancel()
        # Behind half a body the next request would be read as the other half.
        if is_reusable and self._is_sent and connection.reader.is_complete and connection.reader.is_reusable:
            self._pool.give_back(connection)
        else:
            connection.close()
