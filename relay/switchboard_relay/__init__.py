"""Carries one HTTP exchange between two sides: bytes, streams, who leaves first. Knows no product word.

A `Pool` holds the connections to one origin and opens an `Exchange` on one of them; `carry` relays its `Answer` to an
ASGI client; `Transport` offers the same pools to httpx.
"""

from .connection import Answer
from .errors import (
    AnswerBroken,
    AnswerInvalid,
    AnswerMissing,
    BodyTooLarge,
    ClientLeft,
    ConnectFailed,
    ConnectTimedOut,
    RelayError,
)
from .pool import Exchange, Pool
from .relay import Carried, Client, carry, leaving_with_client
from .transport import Transport
from .wire import Headers, Request

__all__ = [
    "Answer",
    "AnswerBroken",
    "AnswerInvalid",
    "AnswerMissing",
    "BodyTooLarge",
    "Carried",
    "Client",
    "ClientLeft",
    "ConnectFailed",
    "ConnectTimedOut",
    "Exchange",
    "Headers",
    "Pool",
    "RelayError",
    "Request",
    "Transport",
    "carry",
    "leaving_with_client",
]
