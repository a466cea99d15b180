"""What the proxy should make of a request that was read: where it may come out, and as what. Pure.

Told here once more, from the documents and plainly, so that it can be held against what comes out.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from doubles.running_proxy import PASSWORD

from .strict_reader import Request

USER = "coordinator"
CREDENTIAL = b"Basic " + b64encode(f"{USER}:{PASSWORD}".encode())
NAME = "proxy.example"
HOST = b"proxy.example:00000"
"""Stands in every case for the proxy's name and port, as many bytes as they will have."""


class Passage(NamedTuple):
    """One request as it comes out behind the proxy: on one of the sides `agent`, `dashboard`, `webui`."""

    side: str
    method: bytes
    target: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Proxy:
    """What is known of a proxy from outside."""

    port: int

    @property
    def host(self) -> bytes:
        """The name that it goes by."""
        return b"%b:%05d" % (NAME.encode(), self.port)

    def passage(self, request: Request) -> Passage | None:
        """How a request comes out; None where nothing of it may reach an upstream."""
        if not self._may_pass(request):
            return None
        path, mark, query = request.target.partition(b"?")
        if not is_path_plain(path):
            return None
        side, prefix = side_of(unquote_to_bytes(path))
        if side is None:
            return None
        target = b"/" + path.split(b"/", prefix + 1)[-1] + mark + query
        return Passage(side, request.method, target, request.body)

    def _may_pass(self, request: Request) -> bool:
        """Whether it shows the credential once, names the proxy, and comes from no page of others."""
        credentials = [_with_lower_scheme(value) for value in request.all(b"authorization")]
        return (
            credentials == [_with_lower_scheme(CREDENTIAL)]
            and [host.lower() for host in request.all(b"host")] == [self.host]
            and {origin.lower() for origin in request.all(b"origin")} <= {b"http://" + self.host}
        )


def _with_lower_scheme(credential: bytes) -> bytes:
    scheme, space, pair = credential.partition(b" ")
    return scheme.lower() + space + pair  # RFC 9110, 11.1


_CONTROL = re.compile(rb"[\x00-\x20\x7f]")
_WRONG_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def is_path_plain(path: bytes) -> bool:
    """Whether a path has one reading: nothing that a server might leave out, join or decode into a separator."""
    if _WRONG_ESCAPE.search(path) or unquote_to_bytes(path).count(b"/") != path.count(b"/"):
        return False
    decoded = unquote_to_bytes(path)
    segments = decoded.split(b"/")[1:]
    return (
        b"\\" not in decoded
        and not _CONTROL.search(decoded.replace(b" ", b""))
        and not any(segment in (b".", b"..") for segment in segments)
        and b"" not in segments[:-1]
    )


def side_of(path: bytes) -> tuple[str | None, int]:
    """Which side a decoded path leads to, and how many of its segments are not for that side."""
    match path.split(b"/")[1:]:
        case [b"v1", _, *_]:
            return "agent", 0
        case [b"p", profile, b"v1", _, *_]:
            return ("agent", 2) if profile == b"default" else (None, 0)
        case [b"agent", b"p", _, *_]:
            return None, 0
        case [b"agent", _, *_]:
            return "agent", 1
        case [b"webui", _, *_]:
            return "webui", 1
        case [b"-", _, *_]:
            return None, 0
    return "dashboard", 0
