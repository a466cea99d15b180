"""Carries calls that may pass to one upstream, and what it answers back."""

import time
from collections.abc import Callable

from switchboard_relay import Budget, Call, ConnectFailed, Headers, Hop, RelayError, Way, WholeBody, write_head
from switchboard_relay.wire import SAFE_METHODS, Header

from . import headers
from .door import Door
from .errors import AgentOutcomeUnknown, BodyTooLarge, ProxyError
from .passage import Passage
from .routes import WEBUI_MOUNT, Side
from .upstreams import Upstream

WHO_AM_I = b"/api/auth/me"
"""The dashboard's page asks this on every load, and takes 401 and 403 for the same answer (hermes-agent 0.19.0). At a
401 without a challenge browsers forget the Basic pair and ask their user for it again: so here it becomes 403."""


class Carrier:
    """Carries calls to one upstream.

    Args:
        upstream: where they go.
        door: whose cookie a page brings.
        held: where the bytes of bodies are counted that are read whole, or kept until their credential was taken.
        refuse: answers a call in the proxy's own name.
    """

    def __init__(
        self, upstream: Upstream, door: Door, held: Budget, refuse: Callable[[Call, ProxyError], None]
    ) -> None:
        self._upstream = upstream
        self._door = door
        self._held = held
        self._refuse = refuse
        answers = {Side.AGENT: _from_agent, Side.DASHBOARD: self._from_dashboard, Side.WEBUI: self._from_webui}
        again = self._again if upstream.key is not None else None
        answer, limit = answers[upstream.side], upstream.body_limit
        self._way = Way(upstream.pool, answer, self._fail, limit, again, held, _takes_events)

    def carry(self, call: Call) -> None:
        """Set out now, or when the body is whole.

        Raises:
            ProxyError: the call is refused; nothing was sent.
            RequestRefused: so is its body.
        """
        upstream = self._upstream
        if call.length is not None and call.length > upstream.body_limit:
            raise BodyTooLarge(f"the body has {call.length} bytes; {upstream.words} takes {upstream.body_limit}")
        if upstream.side is Side.WEBUI and call.method not in SAFE_METHODS:
            self._door.check_referer(call.headers)
        if call.is_chunked and upstream.side is Side.AGENT:
            # An agent gets a length always: it answers a long chunked body with a wrong 400 (hermes-agent 0.19.0).
            WholeBody(call, upstream.body_limit, self._held, self._set_out).start()
        else:
            self._set_out(call)

    def _set_out(self, call: Call) -> None:
        is_streaming = call.is_chunked and not call.has_whole_body
        Hop(call, self._way, self._head(call), is_chunked=is_streaming).start()

    def _head(self, call: Call) -> bytes:
        """The head of a call as the upstream gets it."""
        upstream, passage = self._upstream, call.record
        assert isinstance(passage, Passage)  # noqa: S101 - every call that may pass has one
        assert passage.route is not None  # noqa: S101 - and a route
        crossing = headers.to_upstream(call.headers, host=upstream.host, bearer=upstream.bearer, upgrade=call.upgrade)
        if upstream.side is Side.WEBUI:
            crossing = [header for header in crossing if header[0] != b"referer"]
        if call.length is not None:
            crossing.append((b"content-length", b"%d" % call.length))
        elif call.is_chunked and call.has_whole_body:
            crossing.append((b"content-length", b"%d" % call.waiting_body_bytes))
        elif call.is_chunked:
            crossing.append((b"transfer-encoding", b"chunked"))
        target = upstream.prefix + passage.route.path + passage.query
        return write_head(b"%b %b HTTP/1.1" % (call.method, target), crossing)

    def _again(self, call: Call, status: int) -> bytes | None:
        """After an agent's 401 its key file is read once more: the head with the new key, if there is one."""
        key = self._upstream.key
        if status != 401 or key is None or not key.refresh():
            return None
        return self._head(call)

    def _fail(self, call: Call, error: RelayError) -> None:
        """Our own answer for an upstream that gave none."""
        asked = f"{self._upstream.words} on this machine"
        if isinstance(error, ConnectFailed):
            self._refuse(call, self._upstream.unreachable(f"{asked} takes no connection ({error}); is it running?"))
        else:
            words = f"{asked} took the request and gave no answer ({error}); it may have run"
            self._refuse(call, AgentOutcomeUnknown(words))

    def _from_dashboard(self, call: Call, status: int, told: Headers) -> tuple[int, list[Header]]:
        if status == 401 and call.record.path == WHO_AM_I:
            status = 403
        return status, self._with_cookie(call, headers.to_client(told))

    def _from_webui(self, call: Call, status: int, told: Headers) -> tuple[int, list[Header]]:
        return status, self._with_cookie(call, headers.from_webui(told, mount=WEBUI_MOUNT, host=self._upstream.host))

    def _with_cookie(self, call: Call, crossing: list[Header]) -> list[Header]:
        """Give a browser that showed Basic what its WebSocket handshakes may show instead (Safari)."""
        is_page = any(name == b"content-type" and value.lower().startswith(b"text/html") for name, value in crossing)
        if is_page and call.upgrade is None:
            crossing.append((b"set-cookie", self._door.cookie_for(call.headers, now=time.time())))
        return crossing


def _from_agent(_: Call, status: int, told: Headers) -> tuple[int, list[Header]]:
    return status, headers.from_agent(told)


def _takes_events(call: Call) -> bool:
    """Whether this asks for a run's events, which have one reader, once (hermes-agent 0.19.0)."""
    path: bytes = call.record.path
    return path.endswith(b"/events") and b"/v1/runs/" in path
