"""`switchboard prove`: one real turn to every address and one to all together, through a running coordinator."""

import sys
import time
from typing import Annotated, Any

import orjson
import typer

from . import ask, proof
from .asked_with import LOCAL_URL, KeyFile, Url, read_key
from .exits import EX_FAILED, stop
from .proof import Outcome, Request

TURN_SECONDS = 120.0

AsJson = Annotated[bool, typer.Option("--json", help="Print what came as JSON, at the end.")]
TurnSeconds = Annotated[float, typer.Option(min=1.0, help="How long one turn may take.")]


def prove(
    url: Url = LOCAL_URL, key_file: KeyFile = None, as_json: AsJson = False, turn_seconds: TurnSeconds = TURN_SECONDS
) -> None:
    """Ask every profile of every peer for one turn, then all of them together, and show it as a transcript.

    Each is asked once. Exits 0 when everyone has answered, 1 when not, 2 when the command was wrong.
    """
    coordinator = ask.Coordinator(url, read_key(key_file))
    outcomes = []
    try:
        for request in proof.requests(coordinator.peers()):
            if not as_json:
                _say(request.shown(url))
            outcomes.append(_outcome(coordinator, request, turn_seconds))
            if not as_json:
                _say(f"{outcomes[-1].shown()}\n")
    except ask.AskFailed as error:
        stop(EX_FAILED, str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if as_json:
        _say(orjson.dumps(proof.told(outcomes)).decode())
    if sentences := proof.sentences(outcomes):
        stop(EX_FAILED, *sentences)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command talks to a person


def _outcome(coordinator: ask.Coordinator, request: Request, seconds: float) -> Outcome:
    if request.obstacle is not None:
        return Outcome(request, None, 0.0, {}, {request.target: request.obstacle})
    began = time.perf_counter()
    try:
        answer = coordinator.post(request.path, request.body, seconds)
    except ask.AskFailed as error:
        return Outcome(request, None, time.perf_counter() - began, {}, {request.target: str(error)})
    took = time.perf_counter() - began
    if answer.status_code != 200:
        return Outcome(request, answer.status_code, took, {}, {request.target: ask.words(answer)})
    value: dict[str, Any] = answer.json()
    return proof.outcome_of(request, answer.status_code, took, value)
