"""The cookie for browsers that send no Basic on WebSocket handshakes (Safari). Pure.

It is a dated signature: nothing is kept here, and it dies with the pair that its key comes from. Only a handshake with
the proxy's own Origin may count it, which is checked elsewhere. It is between the browser and the proxy: `without_ours`
takes it out of what goes upstream.
"""

import hmac
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

LIFETIME_SECONDS: Final = 12 * 3600
PREFIX: Final = b"switchboard_socket"
HOST_PREFIX: Final = b"__Host-" + PREFIX
"""On https; browsers keep a name that begins so from other hosts, and from pages without TLS (RFC 6265bis §4.1.3)."""

_TRIED = 8
"""So many signatures of one request are looked at: two names for each of two pairs, and what other paths may add."""


class SocketCookie:
    """Makes and knows the cookies of one proxy.

    Browsers do not tell ports of one host apart, so the name holds a digest of pair and port: another proxy at the same
    host name neither takes this one's cookie for its own nor writes over it.
    """

    def __init__(self, user: str, passwords: Sequence[str], *, port: int) -> None:
        """Cookies are made with the first password and known by any."""
        keys = [_key(user, password, port) for password in passwords]
        self._keys = {prefix + _name(key): key for key in keys for prefix in (PREFIX, HOST_PREFIX)}
        self._name, self._key = _name(keys[0]), keys[0]

    def cookie(self, now: float, *, is_https: bool) -> bytes:
        """The value of a Set-Cookie header; `now` in Unix seconds."""
        until = b"%d" % (int(now) + LIFETIME_SECONDS)
        name = (HOST_PREFIX if is_https else PREFIX) + self._name
        return b"%b=%b.%b; Path=/; Max-Age=%d; HttpOnly; SameSite=Strict%b" % (
            name,
            until,
            _signature(self._key, until),
            LIFETIME_SECONDS,
            b"; Secure" if is_https else b"",
        )

    def is_cookie_good(self, cookie_headers: Sequence[bytes], now: float) -> bool:
        """Whether one of the cookies in these Cookie headers was made here, counts still, and with a pair that does."""
        is_good = False
        for key, value in islice(self._ours(cookie_headers), _TRIED):
            until, _, signature = value.partition(b".")
            is_signed = hmac.compare_digest(_signature(key, until), signature)
            is_good |= is_signed and now < int(until)
        return is_good

    def _ours(self, cookie_headers: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """The key and the value of each cookie that has one of our names."""
        for header in cookie_headers:
            for pair in header.split(b";"):
                name, _, value = pair.strip(b" \t").partition(b"=")
                if (key := self._keys.get(name)) is not None:
                    yield key, value


def without_ours(value: bytes) -> bytes | None:
    """The value of a Cookie header without the cookies of any of our proxies, else byte for byte.

    None where nothing is left.
    """
    if PREFIX not in value:
        return value
    pairs = value.split(b";")
    kept = [pair for pair in pairs if not pair.lstrip(b" \t").startswith((PREFIX, HOST_PREFIX))]
    if not b"".join(kept).strip(b" \t"):
        return None
    return b";".join(kept) if kept[0] is pairs[0] else b";".join(kept).lstrip(b" \t")


def _key(user: str, password: str, port: int) -> bytes:
    return hmac.digest(password.encode(), f"switchboard socket cookie of {user} at {port}".encode(), "sha256")


def _name(key: bytes) -> bytes:
    """What stands behind the prefix: tells proxies apart, and says nothing of the key."""
    return b"_" + hmac.digest(key, b"name", "sha256")[:6].hex().encode()


def _signature(key: bytes, until: bytes) -> bytes:
    return hmac.digest(key, b"until " + until, "sha256").hex().encode()
