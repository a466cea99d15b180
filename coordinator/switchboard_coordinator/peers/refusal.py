"""What a peer's refusal means: the answers of proxies and agents that are no turn, as errors of ours. Pure."""

import orjson
from switchboard_relay import AnswerBroken, AnswerInvalid, ConnectFailed, ConnectTimedOut, Headers, RelayError

from switchboard_coordinator.address import Address
from switchboard_coordinator.errors import (
    AgentUnreachable,
    PeerBadResponse,
    PeerBusy,
    PeerError,
    PeerFailed,
    PeerMisconfigured,
    PeerOutcomeUnknown,
    PeerRejected,
    PeerTimeout,
    PeerUnauthorized,
    PeerUnavailable,
)


def wrong_password(peer: str) -> PeerUnauthorized:
    """The proxy's own 401."""
    return PeerUnauthorized(f"the proxy of {peer} refuses the coordinator's user or password: mend its password file")


def is_wrong_password(status: int, headers: Headers) -> bool:
    """Whether a 401 is the proxy's, not its agent's."""
    return status == 401 and any(name.lower() == b"www-authenticate" for name, _ in headers)


def is_the_proxys(headers: Headers) -> bool:
    """Whether a proxy of ours answered in its agent's place: of an agent's answer it drops this header."""
    return any(name.lower() == b"x-switchboard-started" for name, _ in headers)


def broken(error: RelayError, address: Address, place: str) -> PeerError:
    """What a failure of the connection to `place` means."""
    peer = address.peer
    if isinstance(error, ConnectTimedOut):
        return PeerTimeout(f"{peer} does not answer at {place}: is the machine awake and on the tailnet?")
    if isinstance(error, ConnectFailed):
        return PeerUnavailable(f"{peer} takes no connection at {place} ({error}): is its proxy running?")
    if isinstance(error, AnswerInvalid):
        return PeerBadResponse(f"what answers at {place} for {peer} does not speak HTTP as a proxy does")
    progress = "broke off its answer" if isinstance(error, AnswerBroken) else "took the turn and gave no answer"
    return PeerOutcomeUnknown(f"{address} {progress} ({error}); it may have run")


def refused(status: int, headers: Headers, body: bytes, address: Address) -> PeerError:
    """What an answer means that is not the one hoped for."""
    if is_wrong_password(status, headers):
        return wrong_password(address.peer)
    if status == 401:
        return PeerUnauthorized(f"the agent of {address} refuses the API_SERVER_KEY that its proxy puts in")
    told = _told(body)
    started = next((value for name, value in headers if name.lower() == b"x-switchboard-started"), b"")
    words = str(told.get("message") or f"status {status}")
    error: PeerError
    match told.get("code"):
        case "agent_unreachable":
            error = AgentUnreachable(f"the proxy of {address.peer} answers, its agent does not: {words}")
        case "agent_outcome_unknown":
            error = PeerOutcomeUnknown(f"{address.peer}: {words}")
        case "profile_unknown" | "profile_not_served" | "host_refused":
            error = PeerMisconfigured(f"{address.peer} does not serve {address.profile}: {words}")
        case _:
            error = _by_status(status, words, address, told, started)
    error.retry_after = next(
        (value.decode("latin-1") for name, value in headers if name.lower() == b"retry-after"), None
    )
    return error


def _by_status(status: int, words: str, address: Address, told: dict[str, object], started: bytes) -> PeerError:
    if status == 429:
        return PeerBusy(f"{address} is busy: {words}")
    if status == 503:
        return PeerUnavailable(f"{address} takes no turns now: {words}")
    if 400 <= status < 500:
        code, param = told.get("code"), told.get("param")
        return PeerRejected(
            f"{address} refuses the request: {words}",
            status=status,
            code=code if isinstance(code, str) else None,
            param=param if isinstance(param, str) else None,
        )
    if status >= 500 and started == b"no":
        return PeerUnavailable(f"the proxy of {address.peer} did not pass the turn on: {words}")
    if status >= 500 and started == b"unknown":
        return PeerOutcomeUnknown(f"{address}: {words}")
    if status >= 500:
        return PeerFailed(f"{address} failed: {words}")
    return PeerBadResponse(f"{address} answers with status {status} where an agent does not")


def _told(body: bytes) -> dict[str, object]:
    """The `error` object of an OpenAI envelope; empty for anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = value.get("error") if isinstance(value, dict) else None
    return error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}


def pause_seconds(retry_after: str | None) -> float:
    """What a Retry-After asks for; one second for a date or for nothing."""
    return float(retry_after) if retry_after is not None and retry_after.isdecimal() else 1.0
