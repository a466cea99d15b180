"""The proxy as an ASGI application: admit, route, carry, log."""

import time
from collections.abc import AsyncIterator

import structlog
from switchboard_relay import (
    AnswerBroken,
    Carried,
    Client,
    ClientLeft,
    ConnectFailed,
    Headers,
    RelayError,
    Request,
    carry,
)
from switchboard_relay import BodyTooLarge as TooLongToRead
from switchboard_relay.relay import Message, Receive, Send
from switchboard_relay.wire import Header

from . import headers, routes
from .door import Door
from .errors import (
    AgentOutcomeUnknown,
    AgentUnreachable,
    BodyTooLarge,
    DashboardUnreachable,
    NotFound,
    ProxyError,
    UpgradeRefused,
)
from .profiles import Profiles
from .routes import Route, Side
from .settings import ProxySettings
from .upstreams import Upstream, Upstreams

_log = structlog.get_logger("switchboard_proxy")


class Proxy:
    """The door of one machine."""

    def __init__(self, settings: ProxySettings) -> None:
        """Lay everything out; no socket is opened.

        Raises:
            SecretError: a secret file is not fit for use.
        """
        self._settings = settings
        self._door = Door(
            settings.user,
            settings.password.read(),
            names=(str(settings.listen_address), *settings.names),
            port=settings.port,
        )
        self._upstreams = Upstreams.of(settings)
        self._profiles = Profiles(self._upstreams)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, or live through the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        began = time.perf_counter()
        client, carried = Client(receive), Carried()
        if any(name == b"upgrade" for name, _ in scope["headers"]):
            send = _closing(send)
        outcome = "failed"
        try:
            await self._answer(scope, client, send, carried)
            outcome = "done"
        except ProxyError as error:
            outcome = error.code
            carried.status = error.status
            await _refuse(error, send)
        except ClientLeft:
            outcome = "client_left"
        except RelayError as error:
            if client.has_left:  # its upload broke off, and the exchange with it
                outcome = "client_left"
                return
            # Part of the answer is out: raising makes the server break the client's side as well.
            outcome = "broken"
            raise AnswerBroken(str(error)) from error
        finally:
            _log.info(
                "request",
                client=scope["client"][0] if scope.get("client") else None,
                method=scope["method"],
                path=scope["path"],
                status=carried.status,
                bytes=carried.body_bytes,
                outcome="client_left" if client.has_left and outcome == "done" else outcome,
                duration_ms=round((time.perf_counter() - began) * 1000, 2),
            )

    async def _answer(self, scope: Message, client: Client, send: Send, carried: Carried) -> None:
        asked: Headers = scope["headers"]
        self._door.admit(asked)
        route = routes.find(scope["raw_path"], self._upstreams.profiles)
        if route.side is Side.ITSELF:
            await self._answer_itself(route, send, carried)
            return
        if route.side is Side.AGENT:
            await self._profiles.confirm(route.profile)
            upstream = self._upstreams.profiles[route.profile]
        else:
            upstream = self._upstreams.dashboard
        is_agent = route.side is Side.AGENT
        body, framing = await self._body(asked, client, is_agent=is_agent)
        request = Request(
            scope["method"].encode("ascii"),
            _target(upstream, route, scope["query_string"]),
            headers.to_upstream(asked, host=upstream.host, bearer=upstream.bearer, framing=framing),
            body,
        )
        try:
            await carry(
                upstream.pool,
                request,
                client,
                send,
                answer_headers=lambda answer: headers.to_client(answer.headers, answer.status, is_agent=is_agent),
                carried=carried,
            )
        except RelayError as error:
            if carried.status or client.has_left:
                raise
            raise _own(error, route) from error

    async def _body(
        self, asked: Headers, client: Client, *, is_agent: bool
    ) -> tuple[bytes | AsyncIterator[bytes], Header | None]:
        """The request's body, and the header that tells how it ends.

        An agent gets a length always: it answers a long chunked body with a wrong 400 (hermes-agent 0.19.0).
        """
        is_chunked = any(name == b"transfer-encoding" for name, _ in asked)
        length = next((value for name, value in asked if name == b"content-length"), None)
        if (is_chunked or length) and any(name == b"upgrade" for name, _ in asked):
            # The server drops such a body: an upstream that was promised it would wait for ever.
            raise UpgradeRefused("a request with a body cannot offer another protocol: send it without Upgrade")
        limit = self._settings.max_body_bytes
        if length is not None and not is_chunked:  # the server hands a trailer over as a header
            if is_agent and int(length) > limit:
                raise BodyTooLarge(f"the body has {int(length)} bytes; an agent takes {limit}")
            return await client.body(), (b"content-length", length)
        if not is_chunked:
            return await client.body(), None
        if not is_agent:
            return client.pieces(), (b"transfer-encoding", b"chunked")
        try:
            body = await client.read(limit)
        except TooLongToRead:
            raise BodyTooLarge(f"the body has more than the {limit} bytes that an agent takes") from None
        return body, (b"content-length", b"%d" % len(body))

    async def _answer_itself(self, route: Route, send: Send, carried: Carried) -> None:
        if route.path == b"/-/ready":
            body = b'{"status":"ready"}'
        elif route.path == b"/-/profiles":
            body = await self._profiles.report()
        else:
            raise NotFound("the proxy itself answers at /-/ready and /-/profiles")
        carried.status, carried.body_bytes = 200, len(body)
        await _send_json(send, 200, body, ())

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._upstreams.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _closing(send: Send) -> Send:
    """Ends the connection with its answer: the server reads nothing more behind an upgrade that it was offered."""

    async def send_and_close(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"connection", b"close")]
        await send(message)

    return send_and_close


def _target(upstream: Upstream, route: Route, query: bytes) -> bytes:
    target = upstream.prefix + route.path
    return target + b"?" + query if query else target


def _own(error: RelayError, route: Route) -> ProxyError:
    """Our own answer to an upstream that gave none."""
    is_dashboard = route.side is Side.DASHBOARD
    asked = "the dashboard" if is_dashboard else f"the API server of profile {route.profile}"
    if not isinstance(error, ConnectFailed):
        return AgentOutcomeUnknown(
            f"{asked} on this machine took the request and gave no answer ({error}); it may have run"
        )
    unreachable = DashboardUnreachable if is_dashboard else AgentUnreachable
    return unreachable(f"{asked} on this machine takes no connection ({error}); is it running?")


async def _refuse(error: ProxyError, send: Send) -> None:
    await _send_json(
        send, error.status, error.body(), ((b"x-switchboard-started", error.started.encode()), *error.headers)
    )


async def _send_json(send: Send, status: int, body: bytes, extra: Headers) -> None:
    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *extra]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body, "more_body": False})
