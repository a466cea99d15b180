"""The load: wrk on a core of its own, and the check that a system does the work it is measured for.

wrk itself counts only statuses of 400 and more. So one exchange is looked at in full before the load, and under load
every answer must have exactly the size of that one or, where a system writes it anew, the upstream's text in it; a
round with another answer, or with an error, is a failed round.
"""

import base64
import http.client
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.programs import library_path
from bench.rounds import Round

PATH = "/v1/chat/completions"
MODEL = "hermes-agent"
USER, PASSWORD, BEARER = "coordinator", "bench-password-0123456789abcdef0123", "bench-api-server-key-0123456789"
BASIC_HEADER = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BEARER_HEADER = f"Bearer {BEARER}"


def request(model: str, *, text: str = "ping", stream: bool = False) -> str:
    """A chat request."""
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    return json.dumps({**body, "stream": True} if stream else body)


def _completion(kind: str, choice: Mapping[str, object], **more: object) -> str:
    """One object of an answer, shaped like those of hermes-agent 0.19.0."""
    head = {"id": "chatcmpl-2d0b2df32658485c8ca114a838190", "object": kind, "created": 1795394476, "model": MODEL}
    return json.dumps({**head, "choices": [{"index": 0, **choice}], **more})


def _answer(text: str) -> str:
    message = {"role": "assistant", "content": text}
    return _completion("chat.completion", {"message": message, "finish_reason": "stop"}, usage=USAGE)


def _streamed(text: str) -> str:
    """The same answer as a stream: role, a frame for each token, the finish with the usage, the end mark."""
    third = -(-len(text) // USAGE["completion_tokens"])
    pieces = [{"content": text[at : at + third]} for at in range(0, len(text), third)]
    deltas = [{"delta": delta, "finish_reason": None} for delta in ({"role": "assistant"}, *pieces)]
    finish = _completion("chat.completion.chunk", {"delta": {}, "finish_reason": "stop"}, usage=USAGE)
    frames = [*(_completion("chat.completion.chunk", delta) for delta in deltas), finish, "[DONE]"]
    return "".join(f"data: {frame}\n\n" for frame in frames)


USAGE = {"prompt_tokens": 911, "completion_tokens": 3, "total_tokens": 914}
ANSWER_BYTES = 350
TEXT = "x" * (ANSWER_BYTES - len(_answer("")))
ANSWER, STREAMED_ANSWER = _answer(TEXT), _streamed(TEXT)
PROFILES = json.dumps({"profiles": [{"name": "default", "state": "up", "detail": None, "agent_version": "0.19.0"}]})
"""What a proxy tells its coordinator of a machine where all is well."""


@dataclass(frozen=True)
class Door:
    """Where a system is asked: its loopback port, what it wants to be shown, and what it calls the agent."""

    port: int
    authorization: str
    model: str = MODEL
    headers: Mapping[str, str] = field(default_factory=dict)
    """Others that it needs."""
    is_exact: bool = True
    """Whether the answer comes through as it is; else it is written anew and says the same."""
    is_guarded: bool = True
    """Whether it refuses another credential."""


class WrongWork(Exception):
    """A system answered something else than it should: its speed would mean nothing."""


@dataclass(frozen=True)
class Target:
    """A system that was examined, and the size of its right answers, head included; 0 where it varies."""

    door: Door
    answer_bytes: int


def examine(door: Door) -> Target:
    """Hold one system to its work: the right credential gets the upstream's answer, a wrong one is refused.

    Raises WrongWork. The upstream answers 401 to anything but its own credential, so a 200 shows that it was put in.
    """
    status, body, size = _exchange(door, door.authorization)
    is_right = body == ANSWER if door.is_exact else _said(body) == _said(ANSWER)
    if status != 200 or not is_right:  # the standard's OK
        raise WrongWork(f"the right credential got {status}: {body[:200]}")
    if door.is_guarded:
        refuses(door)
    return Target(door, size if door.is_exact else 0)


def refuses(door: Door) -> None:
    """Hold one system to its work where the credential is wrong. Raises WrongWork."""
    status, body, _ = _exchange(door, door.authorization[:-2] + "AA")
    if status not in (400, 401):  # LiteLLM without a database: 400
        raise WrongWork(f"a wrong credential got {status}: {body[:200]}")


def run(wrk: str, target: Target, *, connections: int, seconds: int, core: int) -> Round:
    """One round of load, in whole seconds as wrk counts them."""
    door = target.door
    headers = {"Content-Type": "application/json", "Authorization": door.authorization, **door.headers}
    command = [wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    script = ["--script", str(Path(__file__).with_name("post.lua")), f"http://127.0.0.1:{door.port}{PATH}"]
    done = subprocess.run(
        ["taskset", "--cpu-list", str(core), *command, *script],
        env=os.environ
        | {
            "BENCH_BODY": request(door.model),
            "BENCH_HEADERS": "".join(f"{name}: {value}\n" for name, value in headers.items()),
            "BENCH_TEXT": "" if door.is_exact else TEXT,
            "LD_LIBRARY_PATH": library_path(),
        },
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=False,
    )
    if done.returncode != 0:
        return Round(connections, 0, 0, 0, failure=f"wrk failed: {done.stderr.strip()[-200:]}")
    return read_round(done.stdout, connections=connections, answer_bytes=target.answer_bytes)


def read_round(output: str, *, connections: int, answer_bytes: int) -> Round:
    """What the last line of wrk's output says (post.lua writes it); `answer_bytes` is 0 where the size varies."""
    seen = json.loads(output.splitlines()[-1])
    errors = {kind: count for kind, count in seen["errors"].items() if count}
    # The last answers of a round may have come in part: one per connection at most.
    missing = abs(seen["bytes"] - seen["requests"] * answer_bytes) - connections * answer_bytes if answer_bytes else 0
    if errors:
        failure = "errors: " + ", ".join(f"{count} {kind}" for kind, count in errors.items())
    elif not seen["requests"]:
        failure = "no answer at all"
    elif missing > 0:
        failure = f"answers of another size: {seen['bytes'] / seen['requests']:.1f} instead of {answer_bytes} bytes"
    else:
        failure = ""
    return Round(
        connections=connections,
        requests_per_second=seen["requests"] / seen["duration_us"] * 1e6,
        p50_ms=seen["p50_us"] / 1000,
        p99_ms=seen["p99_us"] / 1000,
        failure=failure,
    )


def _said(body: str) -> object:
    """Text, finish and usage of a completion; nothing where it is none."""
    try:
        completion = json.loads(body)
        choice, usage = completion["choices"][0], completion["usage"]
        return choice["message"]["content"], choice["finish_reason"], [usage[name] for name in USAGE]
    except (ValueError, LookupError, TypeError):
        return None


def _exchange(door: Door, authorization: str) -> tuple[int, str, int]:
    """Status, body and size in bytes, head included, of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10)
    try:
        headers = {"Authorization": authorization, "Content-Type": "application/json", **door.headers}
        connection.request("POST", PATH, request(door.model), headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in answer.getheaders())
    return answer.status, body.decode(), len(head) + len("\r\n") + len(body)
