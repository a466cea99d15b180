"""Everything that can be said no to, and everything that can go wrong on the way.

    SwitchboardError            `status`, `code`, `kind`; words safe to show
    ├── InvalidKey         401  invalid_api_key
    ├── InsufficientScope  403  insufficient_scope
    ├── RateLimitExceeded  429  rate_limit_exceeded
    ├── MalformedRequest   400  invalid_request
    ├── RequestTooLarge    413  body_too_large
    ├── ModelNotFound      404  model_not_found
    ├── RouteNotFound      404  not_found
    ├── InternalError      500  internal_error
    ├── JournalUnavailable 503  journal_unavailable   no new turn is taken: disk full, locked or corrupt
    ├── JournalNeeded      400  journal_needed        resume, detach and Idempotency-Key need one
    ├── TurnNotFound       404  turn_not_found
    ├── Conflict           409  idempotency_key_conflict, session_peer_mismatch, approval_not_pending
    ├── TurnCancelled      409  turn_cancelled
    ├── DeadlineExceeded   504  deadline_exceeded
    ├── Told                    any of these, as a turn's journal keeps it
    ├── EveryLaneFailed    502  every_lane_failed (or what all lanes have in common)
    └── PeerError               one lane's failure; the sentence names the peer
        ├── PeerUnavailable     503  peer_unavailable      refused, draining: did not start
        ├── PeerTimeout         504  peer_timeout          no connection in time: did not start
        ├── PeerBusy            429  peer_busy             at its limit: did not start
        ├── PeerUnauthorized    502  peer_unauthorized     which of the two secrets is wrong: did not start
        ├── AgentUnreachable    502  agent_unreachable     the proxy is there, its agent is not: did not start
        ├── PeerMisconfigured   502  peer_misconfigured    peers.yaml and the peer's proxy disagree: did not start
        ├── PeerRejected        4xx  what the agent says of the request
        ├── PeerBadResponse     502  peer_bad_response     something answered, but not as an agent does
        ├── PeerFailed          502  peer_failed           the agent says that its turn failed
        └── PeerOutcomeUnknown  502  peer_outcome_unknown  it may have run; never sent again by us

`started` says what is known of the agent's work: `no`, `yes` or `unknown`.
"""

from collections.abc import Mapping
from typing import Any


class SwitchboardError(Exception):
    """An answer of ours that is not the one hoped for."""

    status = 500
    code = "internal_error"
    kind = "api_error"
    started = "no"
    param: str | None = None
    retry_after: str | None = None

    @property
    def words(self) -> str:
        """One sentence, safe to show."""
        return str(self)

    def envelope(self) -> dict[str, Any]:
        """As OpenAI's clients expect it."""
        return {"error": {"message": self.words, "type": self.kind, "param": self.param, "code": self.code}}

    def told(self) -> dict[str, Any]:
        """As a turn's journal keeps it; `Told` reads it."""
        told = {"code": self.code, "message": self.words, "started": self.started, "status": self.status}
        more = {"kind": self.kind, "param": self.param, "retry_after": self.retry_after}
        return {**told, **{name: value for name, value in more.items() if value is not None}}

    def problem(self) -> dict[str, Any]:
        """As RFC 9457 has it; `type` is stable for each code."""
        return {
            "type": f"urn:hermes-switchboard:problem:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "detail": self.words,
            "code": self.code,
        }


class Told(SwitchboardError):
    """An error that a turn's journal tells."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        """`told` is what `SwitchboardError.told` gave."""
        super().__init__(str(told.get("message") or "the turn failed"))
        self.code = str(told.get("code") or "peer_failed")
        self.status = int(told.get("status") or 502)
        self.started = str(told.get("started") or "unknown")
        self.kind = str(told.get("kind") or "peer_error")
        self.param = told.get("param")
        self.retry_after = told.get("retry_after")


class InvalidKey(SwitchboardError):
    """No consumer has this key."""

    status, code, kind = 401, "invalid_api_key", "invalid_request_error"


class InsufficientScope(SwitchboardError):
    """The consumer's key is not good for this; the sentence says which scope is missing."""

    status, code, kind = 403, "insufficient_scope", "invalid_request_error"


class RateLimitExceeded(SwitchboardError):
    """The consumer has opened as many turns as its key allows for now."""

    status, code, kind = 429, "rate_limit_exceeded", "rate_limit_error"

    def __init__(self, words: str, *, retry_after: str) -> None:
        super().__init__(words)
        self.retry_after = retry_after


class MalformedRequest(SwitchboardError):
    """The request cannot be understood; nobody was asked."""

    status, code, kind = 400, "invalid_request", "invalid_request_error"

    def __init__(self, words: str, *, param: str | None = None) -> None:
        super().__init__(words)
        self.param = param


class RequestTooLarge(SwitchboardError):
    """The body is longer than an agent takes."""

    status, code, kind = 413, "body_too_large", "invalid_request_error"


class ModelNotFound(SwitchboardError):
    """No address and no group has this id."""

    status, code, kind, param = 404, "model_not_found", "invalid_request_error", "model"


class RouteNotFound(SwitchboardError):
    """Nothing of ours has this path and method."""

    kind = "invalid_request_error"

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")


class InternalError(SwitchboardError):
    """A fault of ours. The log has it under the request's id."""

    started = "unknown"


class JournalUnavailable(SwitchboardError):
    """The journal cannot be written, so no new turn is taken."""

    status, code = 503, "journal_unavailable"
    retry_after = "5"


class JournalNeeded(SwitchboardError):
    """What is asked for needs a journal, and the operator has switched it off."""

    status, code, kind = 400, "journal_needed", "invalid_request_error"


class TurnNotFound(SwitchboardError):
    """This consumer has no turn of this id."""

    status, code, kind = 404, "turn_not_found", "invalid_request_error"


class Conflict(SwitchboardError):
    """The request does not fit what is there."""

    status, kind = 409, "invalid_request_error"

    def __init__(self, code: str, words: str, *, param: str | None = None) -> None:
        super().__init__(words)
        self.code = code
        self.param = param


class TurnCancelled(SwitchboardError):
    """The turn was cancelled before its end."""

    status, code, started = 409, "turn_cancelled", "unknown"


class DeadlineExceeded(SwitchboardError):
    """The turn did not end within the time that its client gave it."""

    status, code, started = 504, "deadline_exceeded", "unknown"


class PeerError(SwitchboardError):
    """One lane did not answer as hoped."""

    status, code, kind = 502, "peer_failed", "peer_error"


class PeerUnavailable(PeerError):
    """The peer is not there, or takes nothing at the moment."""

    status, code = 503, "peer_unavailable"


class PeerTimeout(PeerError):
    """The peer's machine does not answer the connect: asleep, off, or cut off."""

    status, code = 504, "peer_timeout"


class PeerBusy(PeerError):
    """As many turns as the peer takes at once are running."""

    status, code, kind = 429, "peer_busy", "rate_limit_error"


class PeerUnauthorized(PeerError):
    """A secret between here and the agent is wrong; the client's own key is not the problem."""

    code = "peer_unauthorized"


class AgentUnreachable(PeerError):
    """The peer's proxy answers, and its agent does not."""

    code = "agent_unreachable"


class PeerMisconfigured(PeerError):
    """The peer's proxy does not know or does not serve the profile that peers.yaml names."""

    code = "peer_misconfigured"


class PeerRejected(PeerError):
    """The agent refuses this request; asking again in the same words is of no use."""

    kind = "invalid_request_error"

    def __init__(self, words: str, *, status: int, code: str | None, param: str | None) -> None:
        super().__init__(words)
        self.status = status
        self.code = code or "invalid_request"
        self.param = param


class PeerBadResponse(PeerError):
    """What answers there is not a hermes-agent behind a proxy of ours."""

    code, started = "peer_bad_response", "unknown"


class PeerFailed(PeerError):
    """The agent ran the turn and reports that it failed."""

    code, started = "peer_failed", "yes"


class PeerOutcomeUnknown(PeerError):
    """The question left, and the answer did not come to its end: it may have run. Never sent again by us."""

    code, started = "peer_outcome_unknown", "unknown"


class EveryLaneFailed(SwitchboardError):
    """A turn with several lanes, of which none answered."""

    status, code, kind = 502, "every_lane_failed", "peer_error"

    def __init__(self, failures: list[tuple[str, SwitchboardError]]) -> None:
        super().__init__("; ".join(f"{address}: {error.words}" for address, error in failures))
        self.started = max((error.started for _, error in failures), key=("no", "unknown", "yes").index)
        if len({error.code for _, error in failures}) == 1:
            self.status, self.code = failures[0][1].status, failures[0][1].code
            self.retry_after = next((error.retry_after for _, error in failures if error.retry_after), None)
