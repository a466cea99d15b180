"""Carries one HTTP exchange between two sides: bytes, streams, who leaves first. Knows no product word.

A `Pool` holds the connections to one origin and opens an `Exchange` on one of them. A `Server` takes the `Call`s of
clients, strictly read; a `Hop` carries one of them over a pool.
"""

from .budget import Budget
from .call import Call, Handler
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
from .hop import Hop, Way
from .leaving import Client, leaving_with_client
from .pool import Exchange, Pool
from .requests import RequestRefused
from .server import Limits, Server
from .whole_body import WholeBody
from .wire import Headers, Request
from .wire import head as write_head

__all__ = [
    "Answer",
    "AnswerBroken",
    "AnswerInvalid",
    "AnswerMissing",
    "BodyTooLarge",
    "Budget",
    "Call",
    "Client",
    "ClientLeft",
    "ConnectFailed",
    "ConnectTimedOut",
    "Exchange",
    "Handler",
    "Headers",
    "Hop",
    "Limits",
    "Pool",
    "RelayError",
    "Request",
    "RequestRefused",
    "Server",
    "Way",
    "WholeBody",
    "leaving_with_client",
    "write_head",
]
