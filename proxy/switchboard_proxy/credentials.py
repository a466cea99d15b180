"""Which Basic pairs are valid now, and whether a request shows one of them. Pure.

A judgement costs the same work whatever is wrong. Nothing is decoded: there is one way only to write a pair in base64
(RFC 4648 §3.5), so the digest of what was sent is compared with the digests of what must be sent. Neither the scheme
nor the user's name, the password, their lengths or the number of right characters change what is computed.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from enum import Enum, auto


class Verdict(Enum):
    """What a request's credential is."""

    RIGHT = auto()
    WRONG = auto()
    MISSING = auto()
    """There is none: a browser's first request, not a guess."""


class Credentials:
    """The pairs of one user and each of the passwords that count at the moment: the one in force and the next."""

    def __init__(self, user: str, passwords: Sequence[str]) -> None:
        self._digests = tuple(_digest(base64.b64encode(f"{user}:{password}".encode())) for password in passwords)

    def judge(self, authorization: bytes | None) -> Verdict:
        """Judge the value of one Authorization header; None where there is no such header."""
        if authorization is None:
            return Verdict.MISSING
        scheme, _, pair = authorization.partition(b" ")
        shown = _digest(pair)
        is_known = False
        for digest in self._digests:
            is_known |= hmac.compare_digest(shown, digest)
        return Verdict.RIGHT if is_known & (scheme.lower() == b"basic") else Verdict.WRONG

    def place(self, authorization: bytes) -> int:
        """Where the password stands that was shown, of one that was judged right.

        Raises:
            ValueError: it counts no more.
        """
        return self._digests.index(_digest(authorization.partition(b" ")[2]))


def _digest(pair: bytes) -> bytes:
    return hashlib.sha256(pair).digest()
