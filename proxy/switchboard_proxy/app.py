"""The proxy as the handler of its front: admit, route, carry, count, log."""

import time
from collections.abc import Coroutine
from functools import lru_cache, partial

from switchboard_relay import Budget, Call, RequestRefused
from switchboard_relay.wire import Header
from switchboard_service.logs import RequestLog
from switchboard_service.watched import WatchedSecret

from . import headers, routes
from .carrying import Carrier
from .door import Door, WrongCredential
from .errors import CallerRefused, CallerUnknown, LockedOut, NotFound, ProxyError, Refused, Unauthorized
from .lockout import Lockout
from .metrics import Metrics
from .passage import Passage
from .profiles import Profiles
from .routes import WEBUI_MOUNT, Route, Side
from .settings import ProxySettings
from .upstreams import Upstream, Upstreams
from .whois import Whois, WhoisUnavailable, is_allowed

HELD_BODIES_BYTES = 64_000_000
"""Of all request bodies together that are read whole, or kept until their credential was taken."""
ROUTES_KEPT = 1024

_JSON = (b"content-type", b"application/json")
_ASKS_FOR_BASIC = "this proxy asks for HTTP Basic: the user and password of this peer"


class Proxy:
    """The door of one machine."""

    def __init__(self, settings: ProxySettings, log: RequestLog) -> None:
        """Lay everything out; no socket is opened.

        Raises:
            SecretError: a secret file is not fit for use.
        """
        self._settings = settings
        self._log = log
        self._passwords = (
            WatchedSecret(settings.password),
            WatchedSecret(settings.next_password, optional=True),
        )
        self._door = Door(
            settings.user,
            self._valid_passwords(),
            address=str(settings.listen_address),
            port=settings.port,
            names=settings.names,
            serve_port=settings.serve_port if settings.behind_serve else None,
            public_origins=settings.public_origins,
        )
        self._upstreams = Upstreams.of(settings)
        self._profiles = Profiles(self._upstreams)
        self.held_bodies = Budget(HELD_BODIES_BYTES)
        self._carriers = {
            upstream: Carrier(upstream, self._door, self.held_bodies, self._refuse) for upstream in self._upstreams
        }
        self._find = lru_cache(ROUTES_KEPT)(partial(routes.find, profiles=frozenset(settings.profiles)))
        self._lockout, self._strangers = Lockout(), Lockout()
        self._whois = Whois(settings.tailscale_socket) if settings.tailscale_socket else None
        self.metrics = Metrics()

    @property
    def secrets(self) -> list[WatchedSecret]:
        """Every secret whose file may change; tell `renew` when one did.

        The next password comes before the one in force, whose place it takes by a rename: so a look never misses both.
        """
        return [*reversed(self._passwords), *self._upstreams.keys()]

    def renew(self) -> None:
        """Let the passwords count that their files hold now."""
        self._door.renew(self._valid_passwords())

    def _valid_passwords(self) -> list[str]:
        return [secret.value for secret in self._passwords if secret.value is not None]

    def close(self) -> None:
        """Close idle connections to the upstreams."""
        self._upstreams.close()

    # What the front asks for.

    def called(self, call: Call) -> None:
        """Answer one call, now or later."""
        passage = self._enter(call)
        try:
            self._admit(call, passage)
            if self._whois is not None:
                self._answer_later(call, self._identify(call, passage))
            else:
                self._lead(call, passage)
        except ProxyError as error:
            self._refuse(call, error)

    def refuse(self, call: Call, refused: RequestRefused) -> None:
        """Answer in the name of the front."""
        if call.record is None:
            self._enter(call)
        self._refuse(call, Refused(refused))

    def switched(self, call: Call) -> None:
        """Count a tunnel from here on; its hours are no duration of a request."""
        passage: Passage = call.record
        passage.traffic.ended(101, time.perf_counter() - passage.began)
        passage.traffic.open_tunnels += 1

    def over(self, call: Call) -> None:
        """Count the call, and write its line."""
        passage: Passage = call.record or self._enter(call)
        duration = time.perf_counter() - passage.began
        if call.status == 101:
            passage.traffic.open_tunnels -= 1
            passage.traffic.received_bytes += call.received_bytes
            passage.traffic.sent_bytes += call.body_bytes
        else:
            passage.traffic.ended(call.status, duration, call.received_bytes, call.body_bytes)
        if not passage.is_admitted and not passage.is_guesser:
            self._tell_of_stranger(passage)
        if not passage.is_told:
            return
        self._log.line(passage.line(call, duration))

    # The way of a call.

    def _enter(self, call: Call) -> Passage:
        passage = call.record = Passage(call, self.metrics.itself)
        passage.traffic.began()
        return passage

    def _admit(self, call: Call, passage: Passage) -> None:
        """Let the call pass, or raise."""
        now = time.monotonic()
        if self._settings.behind_serve and (served := headers.forwarded_for(call.headers)) is not None:
            passage.address = served
        try:
            self._door.admit(call.headers, now=time.time(), is_handshake=call.upgrade is not None)
        except WrongCredential:
            self.metrics.wrong_credentials += 1
            refusal = self._lockout.wrong(passage.address, now)
            passage.is_guesser = True
            passage.is_told, passage.untold = refusal.is_told, refusal.untold
            if refusal.retry_after_seconds is None:
                raise Unauthorized(_ASKS_FOR_BASIC) from None
            self.metrics.lockouts += 1
            raise LockedOut(refusal.retry_after_seconds) from None
        self._lockout.right(passage.address)
        passage.is_admitted = True

    def _answer_later(self, call: Call, work: Coroutine[None, None, None]) -> None:
        if not call.has_whole_body:
            call.hold_back()
        call.wait_for(self._refusing(call, work))

    async def _refusing(self, call: Call, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except ProxyError as error:
            self._refuse(call, error)

    async def _identify(self, call: Call, passage: Passage) -> None:
        """Ask the local tailscaled who calls, and go on only for those who may."""
        assert self._whois is not None  # noqa: S101 - else nobody asks
        try:
            caller = await self._whois.ask(passage.address)
        except WhoisUnavailable as error:
            raise CallerUnknown(str(error)) from error
        if caller is not None:
            passage.caller = caller.short_name or caller.node
        if not is_allowed(caller, self._settings.allowed_callers):
            raise CallerRefused("this machine is not one of those that may call this proxy")
        self._lead(call, passage)

    def _lead(self, call: Call, passage: Passage) -> None:
        """Find the way of a call that may pass."""
        route = passage.route = self._find(passage.path)
        if route.side is Side.ITSELF:
            self._answer_itself(call, route)
            return
        upstream = self._upstream(route)
        if passage.path == WEBUI_MOUNT:
            call.outcome = "done"
            call.answer(308, ((b"location", WEBUI_MOUNT[1:] + b"/" + passage.query),), b"")
            return
        self._count_for(passage, route.side)
        if upstream.side is Side.AGENT and not self._profiles.is_believed(route.profile):
            self._answer_later(call, self._carry_when_confirmed(call, upstream, route.profile))
        else:
            self._carriers[upstream].carry(call)

    def _upstream(self, route: Route) -> Upstream:
        if route.side is Side.AGENT:
            upstream = self._upstreams.profiles.get(route.profile)
        else:
            upstream = self._upstreams.webui if route.side is Side.WEBUI else self._upstreams.dashboard
        if upstream is None:
            raise NotFound(f"{route.side.value} is switched off at this proxy")
        return upstream

    def _count_for(self, passage: Passage, side: Side) -> None:
        passage.traffic.open_exchanges -= 1
        passage.traffic = getattr(self.metrics, side.value)
        passage.traffic.began()

    async def _carry_when_confirmed(self, call: Call, upstream: Upstream, profile: str) -> None:
        await self._profiles.confirm(profile)
        self._carriers[upstream].carry(call)

    # What the proxy answers itself.

    def _answer_itself(self, call: Call, route: Route) -> None:
        if route.path == b"/-/ready":
            _answer(call, _JSON, b'{"status":"ready"}')
        elif route.path == b"/-/profiles":
            self._answer_later(call, self._report(call))
        elif route.path == b"/-/metrics":
            kind, body = self.metrics.render()
            _answer(call, (b"content-type", kind), body)
        else:
            raise NotFound("the proxy itself answers at /-/ready, /-/profiles and /-/metrics")

    async def _report(self, call: Call) -> None:
        _answer(call, _JSON, await self._profiles.report(self._door.shown(call.headers)))

    def _refuse(self, call: Call, error: ProxyError) -> None:
        call.outcome = error.code
        self.metrics.refusals[error.code] += 1
        own = (_JSON, (b"x-switchboard-started", error.started.encode()), *error.headers)
        call.answer(error.status, own, error.body())

    def _tell_of_stranger(self, passage: Passage) -> None:
        """Strangers get a line a minute and address, whatever they send."""
        told = self._strangers.wrong(passage.address, time.monotonic())
        passage.is_told, passage.untold = told.is_told, told.untold


def _answer(call: Call, kind: Header, body: bytes) -> None:
    call.outcome = "done"
    call.answer(200, (kind,), body)
