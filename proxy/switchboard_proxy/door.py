"""Who may pass: the credential, the Host and the Origin of a request. Pure.

Host and Origin are checked here because the proxy takes both of the agent's own defences away: it puts the Bearer in
and rewrites Host. hermes-agent 0.19.0 runs a cross-site `text/plain` POST once a Bearer is there.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from switchboard_relay import Headers

from .cookie import SocketCookie
from .credentials import Credentials, Verdict
from .errors import HostRefused, OriginRefused, Unauthorized

_HTTPS = b"https://"


class WrongCredential(Exception):
    """A credential came, and it is wrong. What becomes of it depends on how many came before."""


class Door:
    """Lets a request pass, or says why not.

    Args:
        user: the name in the Basic pairs.
        passwords: those that count now: the current one, and the next where there is one.
        names: what the proxy may be called by: host names and addresses.
        port: where it listens.
        serve_port: behind Tailscale Serve, where it has the names on https; the address is then for this machine.
        public_origins: more origins whose pages may ask.
    """

    def __init__(
        self,
        user: str,
        passwords: Sequence[str],
        *,
        address: str,
        port: int,
        names: Iterable[str] = (),
        serve_port: int | None = None,
        public_origins: Iterable[str] = (),
    ) -> None:
        self._user, self._port = user, port
        own = [_host(name, port) for name in (address, *(names if serve_port is None else ()))]
        served = [] if serve_port is None else [_host(name, serve_port) for name in names]
        # A browser leaves out the port that goes without saying.
        if port == 80:
            own += [host.removesuffix(b":80") for host in own]
        if serve_port == 443:
            served += [host.removesuffix(b":443") for host in served]
        self._hosts = frozenset((*own, *served))
        self._own_origins = frozenset((*(b"http://" + host for host in own), *(_HTTPS + host for host in served)))
        self._origins = self._own_origins | {origin.encode("ascii") for origin in public_origins}
        self.renew(passwords)

    def renew(self, passwords: Sequence[str]) -> None:
        """Let these passwords count from now on."""
        self._credentials = Credentials(self._user, passwords)
        self._cookie = SocketCookie(self._user, passwords, port=self._port)

    def admit(self, headers: Headers, *, now: float, is_handshake: bool = False) -> None:
        """Check one request's headers, names in lower case; `now` in Unix seconds.

        A WebSocket's handshake may show our cookie in place of the credential, from a page of our own.

        Raises:
            Unauthorized: no credential. It comes first: a stranger learns nothing else.
            WrongCredential: one that is wrong.
            HostRefused: Host is missing, there twice, or not ours.
            OriginRefused: Origin is there and not ours.
        """
        credential = host = origin = None
        for name, value in headers:
            if name == b"authorization":
                # Two credentials could be read differently behind us: together they are wrong.
                credential = value if credential is None else b""
            elif name == b"host":
                host = value if host is None else b""
            elif name == b"origin":
                origin = value if origin is None else b"two"
        verdict = self._credentials.judge(credential)
        if verdict is Verdict.WRONG:
            raise WrongCredential
        page = origin.lower() if origin is not None else None
        if verdict is Verdict.MISSING and not (
            is_handshake and page in self._own_origins and self._cookie.is_cookie_good(_cookies(headers), now)
        ):
            raise Unauthorized
        if host is None or host.lower() not in self._hosts:
            raise HostRefused(
                "the Host header is none of this proxy's names; SWITCHBOARD_PROXY_NAMES adds names it may be called by"
            )
        if page is not None and page not in self._origins:
            raise OriginRefused("a page of another origin may not ask this proxy")

    def shown(self, headers: Headers) -> Literal["current", "next"] | None:
        """Which of the passwords a request that was admitted showed; None where that counts no more."""
        try:
            place = self._credentials.place(next(value for name, value in headers if name == b"authorization"))
        except (StopIteration, ValueError):
            return None
        return "next" if place else "current"

    def check_referer(self, headers: Headers) -> None:
        """Hold Referer to what Origin is held to, for an upstream that would look at both.

        Raises:
            OriginRefused: a page of another origin is where the request comes from.
        """
        for name, value in headers:
            if name == b"referer" and b"/".join(value.split(b"/")[:3]).lower() not in self._origins:
                raise OriginRefused("a page of another origin may not ask this proxy")

    def cookie_for(self, headers: Headers, *, now: float) -> bytes:
        """The value of Set-Cookie for a browser that asked with these headers; `now` in Unix seconds."""
        host = next((value.lower() for name, value in headers if name == b"host"), b"")
        return self._cookie.cookie(now, is_https=_HTTPS + host.removesuffix(b":443") in self._origins)


def _cookies(headers: Headers) -> list[bytes]:
    return [value for name, value in headers if name == b"cookie"]


def _host(name: str, port: int) -> bytes:
    host = f"[{name}]" if ":" in name else name
    return f"{host}:{port}".lower().encode("ascii")
