"""One real question and what became of it, as a transcript shows it and as JSON. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MESSAGE = "Reply with the single word pong."
EVERYBODY = "all@fleet"
WORDLESS = "the turn ended well, and without a word"


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent; the key goes with it and is shown nowhere. `obstacle` says why it is not."""

    target: str
    path: str
    body: Mapping[str, Any]
    obstacle: str | None = None

    def shown(self, url: str) -> str:
        """The request's line and its body."""
        return f"POST {url.rstrip('/')}{self.path}\n{json.dumps(self.body, ensure_ascii=False)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came back.

    Attributes:
        status: None where no answer came, or nothing was sent.
        seconds: from sending it to the end of the answer.
        replies: what each address said.
        failures: what each address, or the question as a whole, failed with.
    """

    request: Request
    status: int | None
    seconds: float
    replies: Mapping[str, str]
    failures: Mapping[str, str]

    @property
    def is_ok(self) -> bool:
        """Whether everybody asked has answered."""
        return not self.failures

    def shown(self) -> str:
        """A comment, of a line for each address where several were asked: `# 200 in 0.41 s: pong`."""
        head = f"# {self.status or 'no answer'} in {self.seconds:.2f} s"
        told = {**self.replies, **self.failures}
        if [*told] == [self.request.target]:
            return f"{head}: {_line(told[self.request.target])}"
        return "\n".join([head, *(f"#   {address}: {_line(words)}" for address, words in told.items())])

    def told(self) -> dict[str, Any]:
        """As JSON: see `told`."""
        return {
            "target": self.request.target,
            "ok": self.is_ok,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "replies": dict(self.replies),
            "failures": dict(self.failures),
        }


def told(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """A whole proof as JSON. Members are added, never changed:

    `{"ok", "turns": [{"target", "ok", "status": int | null, "seconds", "replies": {address: text},
    "failures": {target or address: sentence}}, …]}`
    """
    return {"ok": all(outcome.is_ok for outcome in outcomes), "turns": [outcome.told() for outcome in outcomes]}


def sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """What failed, each with its address."""
    return [
        f"{address}: {words}" if address == outcome.request.target else f"{outcome.request.target}: {address}: {words}"
        for outcome in outcomes
        for address, words in outcome.failures.items()
    ]


def requests(peers: Mapping[str, Any]) -> list[Request]:
    """A turn for each address that `GET /api/peers` names, and one for all together."""
    everybody = {
        "model": EVERYBODY,
        "messages": [{"role": "user", "content": MESSAGE}],
        "switchboard": {"answers": "choices"},
    }
    return [
        *(_invocation(profile["address"], peer) for peer in peers["peers"] for profile in peer["profiles"]),
        Request(EVERYBODY, "/v1/chat/completions", everybody),
    ]


def _invocation(address: str, peer: Mapping[str, Any]) -> Request:
    """A turn for a peer that is drained would wait until somebody puts it back."""
    name = peer["name"]
    obstacle = f"{name} is drained: `switchboard undrain {name}`" if peer["state"] == "draining" else None
    return Request(address, "/api/remote-agent/invoke", {"target": address, "message": MESSAGE}, obstacle)


def outcome_of(request: Request, status: int, seconds: float, value: Mapping[str, Any]) -> Outcome:
    """What an answer with status 200 and this JSON means."""
    said = _lanes(value) if "choices" in value else {request.target: (str(value["reply"]), None)}
    replies = {address: text for address, (text, failure) in said.items() if text.strip() and failure is None}
    failures = {address: failure or WORDLESS for address, (_, failure) in said.items() if address not in replies}
    return Outcome(request, status, seconds, replies, failures)


def _lanes(value: Mapping[str, Any]) -> Mapping[str, tuple[str, str | None]]:
    """What each lane said, and its failure. Each lane of `all` is the choice of its own number."""
    texts = {choice["index"]: str(choice["message"]["content"] or "") for choice in value["choices"]}
    return {lane["address"]: (texts.get(lane["index"], ""), _failure(lane)) for lane in value["switchboard"]["lanes"]}


def _failure(lane: Mapping[str, Any]) -> str | None:
    return None if lane["state"] == "done" else str(lane["message"] or lane["state"])


def _line(text: str) -> str:
    return " ".join(text.split())
