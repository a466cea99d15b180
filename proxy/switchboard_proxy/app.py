"""The proxy as the handler of its front: admit, route, carry, log."""

import time
from typing import Any

import structlog
from switchboard_relay import (
    Budget,
    Call,
    ConnectFailed,
    Headers,
    Hop,
    Plan,
    RelayError,
    Request,
    RequestRefused,
    WholeBody,
)

from . import headers, routes
from .door import Door
from .errors import (
    AgentOutcomeUnknown,
    AgentUnreachable,
    BodyTooLarge,
    DashboardUnreachable,
    NotFound,
    ProxyError,
    Refused,
)
from .profiles import Profiles
from .routes import Route, Side
from .settings import ProxySettings
from .upstreams import Upstream, Upstreams

HELD_BODIES_BYTES = 64_000_000
"""Of all request bodies together that are read whole, or kept until their credential was taken."""

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
        self._held = Budget(HELD_BODIES_BYTES)

    def close(self) -> None:
        """Close idle connections to the upstreams."""
        self._upstreams.close()

    # What the front asks for.

    def called(self, call: Call) -> None:
        """Answer one call, now or later."""
        call.notes["began"] = time.perf_counter()
        try:
            self._answer(call)
        except ProxyError as error:
            _refuse(call, error)

    def refuse(self, call: Call, refused: RequestRefused) -> None:
        """Answer in the name of the front."""
        _refuse(call, Refused(refused))

    def over(self, call: Call) -> None:
        """Write the call's log line."""
        began: Any = call.notes.get("began")
        _log.info(
            "request",
            client=call.address[0],
            method=call.method.decode("ascii", "replace"),
            path=call.target.partition(b"?")[0].decode("ascii", "replace"),
            status=call.status,
            bytes=call.body_bytes,
            outcome=call.outcome,
            duration_ms=round((time.perf_counter() - began) * 1000, 2) if began else 0.0,
        )

    # The way of a call.

    def _answer(self, call: Call) -> None:
        self._door.admit(call.headers)
        route = routes.find(call.target.partition(b"?")[0], self._upstreams.profiles)
        if route.side is Side.ITSELF:
            self._answer_itself(call, route)
        elif route.side is Side.DASHBOARD or self._profiles.is_believed(route.profile):
            self._carry(call, route)
        else:
            if not call.has_whole_body:
                call.hold_back()
            call.wait_for(self._carry_when_confirmed(call, route))

    async def _carry_when_confirmed(self, call: Call, route: Route) -> None:
        try:
            await self._profiles.confirm(route.profile)
            self._carry(call, route)
        except ProxyError as error:
            _refuse(call, error)

    def _carry(self, call: Call, route: Route) -> None:
        is_agent = route.side is Side.AGENT
        if is_agent and call.is_chunked:
            # An agent gets a length always: it answers a long chunked body with a wrong 400 (hermes-agent 0.19.0).
            WholeBody(call, self._settings.max_body_bytes, self._held, lambda call: self._set_out(call, route)).start()
        else:
            self._set_out(call, route)

    def _set_out(self, call: Call, route: Route) -> None:
        is_agent = route.side is Side.AGENT
        upstream = self._upstreams.profiles[route.profile] if is_agent else self._upstreams.dashboard
        limit = self._settings.max_body_bytes if is_agent else self._settings.dashboard_max_body_bytes
        length = call.length
        if length is not None and length > limit:
            raise BodyTooLarge(f"the body has {length} bytes; here {limit} are taken")
        body = b""
        if call.is_chunked and call.has_whole_body:
            body = call.take()
            call.put_back(body)
            length = len(body)
        framing = (
            (b"content-length", b"%d" % length)
            if length is not None
            else (b"transfer-encoding", b"chunked")
            if call.is_chunked
            else None
        )
        request = Request(
            call.method,
            _target(upstream, route, call.target.partition(b"?")[2]),
            headers.to_upstream(
                call.headers, host=upstream.host, bearer=upstream.bearer, framing=framing, upgrade=call.upgrade
            ),
        )
        Hop(
            call,
            Plan(
                upstream.pool,
                request,
                headers.agent_answer if is_agent else headers.dashboard_answer,
                lambda call, error: _refuse(call, _own(error, route)),
                limit,
                None,
                self._held,
            ),
        ).start()

    def _answer_itself(self, call: Call, route: Route) -> None:
        if route.path == b"/-/ready":
            _answer_json(call, b'{"status":"ready"}')
        elif route.path == b"/-/profiles":
            call.wait_for(self._report(call))
        else:
            raise NotFound("the proxy itself answers at /-/ready and /-/profiles")

    async def _report(self, call: Call) -> None:
        _answer_json(call, await self._profiles.report())


def _answer_json(call: Call, body: bytes) -> None:
    call.outcome = "done"
    call.answer(200, ((b"content-type", b"application/json"),), body)


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


def _refuse(call: Call, error: ProxyError) -> None:
    call.outcome = error.code
    head: Headers = (
        (b"content-type", b"application/json"),
        (b"x-switchboard-started", error.started.encode()),
        *error.headers,
    )
    call.answer(error.status, head, error.body())
