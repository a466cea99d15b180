"""What an agent does in one turn, step by step, as the words at the head of the message say. Pure.

A surface takes the steps one after the other and shows them in its own way; `Wait` is for it to wait, and to `Ask` it
sends the answer.
"""

import json
import re
import secrets
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from .directives import Directives
from .record import Message

PIECE_CHARACTERS = 8
CHOICES = ("once", "session", "always", "deny")
_SLEEP = re.compile(r"\bsleep ([0-9]+(?:\.[0-9]+)?)")
_DANGER = re.compile(r"\brm +-\w*r")
_DENIED = (
    "BLOCKED: Command denied by user. The user has NOT consented to this action. Do NOT retry this command, do NOT "
    "rephrase it, and do NOT attempt the same outcome via a different command. Stop the current workflow and wait for "
    "the user to respond before taking any further destructive or irreversible action."
)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing happens for so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    piece: str


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool runs; `arguments` is JSON."""

    call: str
    tool: str
    arguments: str
    label: str


@dataclass(frozen=True, slots=True)
class ToolCompleted:
    """It has run; `output` is JSON."""

    call: str
    tool: str
    output: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Ask:
    """A person must allow this command: answered with one of `CHOICES`, or None where nobody can be asked."""

    command: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection that shows the turn breaks."""


@dataclass(frozen=True, slots=True)
class Died:
    """The connection breaks, and the turn is no more."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The model provider answered with an error; `text` is what the agent says where it must say something."""

    error: str
    text: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Words stand for tokens; a real agent counts its own long prompt too."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is whole."""

    text: str
    usage: Usage


Step = Wait | Text | ToolStarted | ToolCompleted | Ask | Cut | Died | Failed | Finished
Steps = Generator[Step, str | None, None]


def work(name: str, text: str, words: Directives, history: Sequence[Message]) -> Steps:
    """The steps of a turn; the last is `Failed`, `Died` or `Finished`. `text` is the message with its `words`."""
    if words.silence:
        yield Wait(words.silence)
    if words.fail is not None:
        error = f"HTTP {words.fail}: the model was told to fail"
        yield Failed(error, error if words.fail < 500 else f"API call failed after 3 retries: {error}")
        return
    answer, lead = _answer(name, words, history), ""
    tool = ("terminal", json.dumps({"command": words.approve})) if words.approve is not None else words.tool
    if tool is not None:
        refused = yield from _tool(*tool, asks=words.approve is not None)
        answer, lead = (f"[{name}] tool said: {refused}" if refused else answer), "\n\n"
    pieces = max(1, -(-len(answer) // PIECE_CHARACTERS))
    half = pieces // 2
    for number in range(pieces):
        if number == half and words.die:
            yield Died()
            return
        if number == half and words.cut:
            yield Cut()
        if words.delay:
            yield Wait(words.delay)
        begin = number * PIECE_CHARACTERS
        yield Text(lead + answer[begin : begin + PIECE_CHARACTERS])
        lead = ""
    yield Finished(answer, Usage(900 + len(text.split()), len(answer.split())))


def _answer(name: str, words: Directives, history: Sequence[Message]) -> str:
    if words.history:
        return f"[{name}] history: {json.dumps([[message['role'], message['content']] for message in history])}"
    return f"[{name}] echo: " + " ".join([words.text] * words.repeat)


def _tool(tool: str, arguments: str, *, asks: bool) -> Generator[Step, str | None, str | None]:
    """Run a tool. Gives what it said where it was not allowed to run."""
    call = "call_" + secrets.token_hex(4)
    command = str(json.loads(arguments).get("command", tool))
    yield ToolStarted(call, tool, arguments, command)
    pattern = "recursive delete" if _DANGER.search(command) else "told to ask" if asks else None
    if pattern is not None:
        choice = yield Ask(command, pattern)
        refused = _refused(command, pattern, choice)
        if refused is not None:
            yield ToolCompleted(call, tool, refused, is_error=choice == "deny")
            return refused
    if pause := _SLEEP.search(command):
        yield Wait(float(pause[1]))
    said = command.removeprefix("echo ") if command.startswith("echo ") else ""
    yield ToolCompleted(call, tool, json.dumps({"output": said, "exit_code": 0, "error": None}), is_error=False)
    return None


def _refused(command: str, pattern: str, choice: str | None) -> str | None:
    if choice is None:
        asked = {"status": "pending_approval", "approval_pending": True, "command": command, "description": pattern}
        more = {"pattern_key": pattern, "smart_denied": False, "allow_permanent": True}
        return json.dumps({"output": "", "exit_code": -1, "error": "", **asked, **more})
    if choice == "deny":
        return json.dumps({"output": "", "exit_code": -1, "error": _DENIED, "status": "blocked"})
    return None
