"""What can go wrong between two sides.

    RelayError                  `was_sent` tells whether anything of the request may have left
    ├── ConnectFailed           no connection: nothing was sent
    │   └── ConnectTimedOut     nobody answered the connect in time
    ├── AnswerMissing           the connection ended before an answer began
    ├── AnswerInvalid           what came is not an HTTP answer that we accept
    └── AnswerBroken            the answer began and broke off before its end
    ClientLeft                  the client went away while its request was still being read
    BodyTooLarge                the client's request body is larger than the caller allows

Nobody but the callers of this package turns them into answers.
"""


class RelayError(Exception):
    """An exchange that did not end well."""

    was_sent = True


class ConnectFailed(RelayError):
    """The upstream refused the connection, or its name or network is not known."""

    was_sent = False


class ConnectTimedOut(ConnectFailed):
    """The upstream did not accept the connection in time."""


class AnswerMissing(RelayError):
    """The request left, and the connection ended before an answer began."""


class AnswerInvalid(RelayError):
    """The upstream sent what is no HTTP/1 answer, or one that could be read in two ways."""


class AnswerBroken(RelayError):
    """The answer began, and broke off before its end."""


class ClientLeft(Exception):
    """The client closed its connection before its request was complete."""


class BodyTooLarge(Exception):
    """The request body is longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request body is longer than {limit} bytes")
        self.limit = limit
