"""`switchboard drain` and `undrain`: take a peer out of use while its machine is worked on, and put it back."""

import sys
import time
from typing import Annotated, Any

import typer

from .ask import AskFailed, Coordinator
from .asked_with import LOCAL_URL, KeyFile, Url, read_key
from .exits import EX_BUSY, EX_FAILED, stop

LOOK_SECONDS = 0.5

Name = Annotated[str, typer.Argument(metavar="PEER", help="The peer's name.")]
Wait = Annotated[
    float | None, typer.Option(min=0.0, metavar="SECONDS", help="Wait so long for the turns that run there to end.")
]


def drain(peer: Name, wait: Wait = None, url: Url = LOCAL_URL, key_file: KeyFile = None) -> None:
    """Give a peer no new turns: groups are without it, what is named to it waits, what runs there goes on.

    Needs a key with the scope admin. Exits 0 when it is drained and, with --wait, nothing runs there any more; 75 when
    turns still run after that time: it stays drained. 1 when it could not be drained, or nobody knows what runs.
    """
    coordinator = Coordinator(url, read_key(key_file))
    try:
        told = coordinator.drain(peer)
        end = time.monotonic() + (wait or 0.0)
        while _is_drained(told) and _running(told) and time.monotonic() < end:
            time.sleep(min(LOOK_SECONDS, max(0.0, end - time.monotonic())))
            told = coordinator.peer(peer)
    except AskFailed as error:
        stop(EX_FAILED, str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    if not _is_drained(told):
        stop(EX_FAILED, f"{peer} was put back by somebody else, and is {told['state']}")
    if wait is not None and _running(told):
        stop(EX_BUSY, f"{peer} is drained, and {_turns(told)} there after {wait:g} s")
    _say(f"{peer} is drained, and {_turns(told)} there")


def undrain(peer: Name, url: Url = LOCAL_URL, key_file: KeyFile = None) -> None:
    """Let a peer have turns again, those that wait for it at once. Needs a key with the scope admin."""
    try:
        told = Coordinator(url, read_key(key_file)).undrain(peer)
    except AskFailed as error:
        stop(EX_FAILED, str(error))
    _say(f"{peer} is drained no more, and is {told['state']}")


def _is_drained(told: dict[str, Any]) -> bool:
    return told.get("draining_since") is not None


def _running(told: dict[str, Any]) -> int:
    running: int = told["turns"]["running"]
    return running


def _turns(told: dict[str, Any]) -> str:
    running = _running(told)
    return f"{running or 'no'} {'turn runs' if running < 2 else 'turns run'}"


def _say(sentence: str) -> None:
    print(sentence)  # noqa: T201 - a command talks to a person
