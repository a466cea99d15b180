"""Who may pass: the credential, the Host and the Origin of a request. Pure.

Host and Origin are checked here because the proxy takes both of the agent's own defences away: it puts the Bearer in
and rewrites Host. hermes-agent 0.19.0 runs a cross-site `text/plain` POST once a Bearer is there.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable

from switchboard_relay import Headers

from .errors import HostRefused, OriginRefused, Unauthorized


class Door:
    """Lets a request pass, or says why not."""

    def __init__(self, user: str, password: str, *, names: Iterable[str], port: int) -> None:
        self._expected = _digest(f"{user}:{password}".encode())
        self._hosts = frozenset(_host(name, port) for name in names)
        self._origins = frozenset(b"http://" + host for host in self._hosts)
        if port == 80:  # the port that a URL leaves out
            self._hosts |= frozenset(host.removesuffix(b":80") for host in self._hosts)
            self._origins |= frozenset(origin.removesuffix(b":80") for origin in self._origins)

    def admit(self, headers: Headers) -> None:
        """Check one request's headers, names in lower case.

        Raises:
            Unauthorized: the credential comes first: a stranger learns nothing else.
            HostRefused: Host is missing, there twice, or not ours.
            OriginRefused: Origin is there and not ours.
        """
        credential = host = origin = None
        hosts = 0
        for name, value in headers:
            if name == b"authorization":
                # Two credentials could be read differently behind us: together they are wrong.
                credential = value if credential is None else b""
            elif name == b"host":
                host, hosts = value, hosts + 1
            elif name == b"origin":
                origin = value if origin is None else b"two"
        if not self._is_right(credential):
            raise Unauthorized("this proxy asks for HTTP Basic: the user and password of this peer")
        if host is None or hosts > 1 or host.lower() not in self._hosts:
            raise HostRefused(
                "the Host header is none of this proxy's names; SWITCHBOARD_PROXY_NAMES adds names it may be called by"
            )
        if origin is not None and origin.lower() not in self._origins:
            raise OriginRefused("a page of another origin may not ask this proxy")

    def _is_right(self, credential: bytes | None) -> bool:
        """Compare in constant time, whatever is wrong: scheme, encoding, user or password."""
        scheme, _, token = (credential or b"").partition(b" ")
        try:
            pair = base64.b64decode(token, validate=True)
        except (binascii.Error, ValueError):
            pair = b""
        is_pair_right = hmac.compare_digest(_digest(pair), self._expected)
        return is_pair_right and scheme.lower() == b"basic"


def _digest(pair: bytes) -> bytes:
    return hashlib.sha256(pair).digest()


def _host(name: str, port: int) -> bytes:
    host = f"[{name}]" if ":" in name else name
    return f"{host}:{port}".lower().encode("ascii")
