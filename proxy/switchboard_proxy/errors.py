"""What the proxy itself answers, apart from what comes from behind it.

    ProxyError                    `status`, `code`, `started`; words safe to show
    ├── Unauthorized         401  no or wrong Basic credential
    ├── LockedOut            429  wrong once too often, of one address
    ├── CallerRefused        403  tailscaled knows the caller, and it is not one of those allowed
    ├── CallerUnknown        503  tailscaled does not say who calls
    ├── HostRefused          421  not one of this proxy's names
    ├── OriginRefused        403  a page of another origin asks
    ├── PathRefused          400  a path that two readers could read differently
    ├── Refused              …    what the front refuses: its own status and code
    ├── NotFound             404  below /-/, but nothing of ours; or switched off here
    ├── ProfileUnknown       404  no profile of this machine
    ├── ProfileNotServed     503  the agent would run it as another profile
    ├── BodyTooLarge         413
    ├── AgentUnreachable     502  nothing was sent to the agent
    ├── DashboardUnreachable 502  nothing was sent to the dashboard; WebuiUnreachable likewise
    └── AgentOutcomeUnknown  502  it was sent, and no answer came

`started` says whether the agent may have begun to work: `no` or `unknown`.
"""

import orjson
from switchboard_relay import Headers, RequestRefused


class ProxyError(Exception):
    """An answer of the proxy's own, in the OpenAI envelope."""

    status = 500
    code = "proxy_error"
    kind = "api_error"
    started = "no"
    headers: Headers = ()

    def body(self) -> bytes:
        """The OpenAI error envelope, as JSON."""
        error = {"message": str(self), "type": self.kind, "param": None, "code": self.code}
        return orjson.dumps({"error": error})


class Unauthorized(ProxyError):
    """Basic is missing or wrong; which part is wrong is not told."""

    status, code, kind = 401, "invalid_credentials", "authentication_error"
    headers = ((b"www-authenticate", b'Basic realm="hermes-switchboard", charset="UTF-8"'),)


class LockedOut(ProxyError):
    """Too many wrong credentials came from this address; a right one passes all the same."""

    status, code, kind = 429, "locked_out", "authentication_error"

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(f"too many wrong credentials came from this address: wait {retry_after_seconds} s")
        self.headers = ((b"retry-after", b"%d" % retry_after_seconds),)


class CallerRefused(ProxyError):
    """The machine that calls is not one of SWITCHBOARD_PROXY_ALLOWED_CALLERS."""

    status, code, kind = 403, "caller_refused", "permission_error"


class CallerUnknown(ProxyError):
    """The local tailscaled could not be asked who calls: nobody passes unseen."""

    status, code = 503, "caller_unknown"
    headers = ((b"retry-after", b"1"),)


class HostRefused(ProxyError):
    """The Host header names somebody else: a stale DNS name, or a page that rebinds one."""

    status, code, kind = 421, "host_refused", "invalid_request_error"


class OriginRefused(ProxyError):
    """A browser asks on behalf of a page that is not this proxy's own."""

    status, code, kind = 403, "origin_refused", "permission_error"


class PathRefused(ProxyError):
    """Dot segments, empty segments, or encoded slashes, dots and control characters."""

    status, code, kind = 400, "path_refused", "invalid_request_error"


class Refused(ProxyError):
    """The front's own refusal: a request that is malformed, too large, too slow, or comes at the wrong moment."""

    kind = "invalid_request_error"

    def __init__(self, refused: RequestRefused) -> None:
        super().__init__(str(refused))
        self.status, self.code = refused.status, refused.code
        if self.status >= 500:
            self.kind = "api_error"
        if self.status == 500:
            self.started = "unknown"
        if self.status == 503:
            self.headers = ((b"retry-after", b"1"),)


class NotFound(ProxyError):
    """No route of the proxy's own has this path."""

    status, code, kind = 404, "not_found", "invalid_request_error"


class ProfileUnknown(ProxyError):
    """The profile is not one that this proxy was told of."""

    status, code, kind = 404, "profile_unknown", "invalid_request_error"


class ProfileNotServed(ProxyError):
    """The agent does not tell this profile from others: a turn for it would run as the default one."""

    status, code = 503, "profile_not_served"


class BodyTooLarge(ProxyError):
    """The body is longer than an agent's API server takes."""

    status, code, kind = 413, "body_too_large", "invalid_request_error"


class AgentUnreachable(ProxyError):
    """The API server of the profile does not accept connections."""

    status, code = 502, "agent_unreachable"


class DashboardUnreachable(ProxyError):
    """The dashboard does not accept connections."""

    status, code = 502, "dashboard_unreachable"


class WebuiUnreachable(ProxyError):
    """The hermes-webui does not accept connections."""

    status, code = 502, "webui_unreachable"


class AgentOutcomeUnknown(ProxyError):
    """The request went to the agent, and no answer came back: it may have run."""

    status, code, started = 502, "agent_outcome_unknown", "unknown"
