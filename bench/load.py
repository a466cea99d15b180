"""The load: wrk on a core of its own, and the check that a system does the work it is measured for.

wrk itself counts only statuses of 400 and more. So one exchange is looked at in full before the load, and under load
every answer must have exactly the size of that one; a round with another answer, or with an error, is a failed round.
"""

import base64
import http.client
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.one_hop_report import Round
from bench.programs import library_path

PATH = "/v1/chat/completions"
REQUEST = json.dumps({"model": "hermes-agent", "messages": [{"role": "user", "content": "ping"}]})
USER, PASSWORD, BEARER = "coordinator", "bench-password-0123456789abcdef0123", "bench-api-server-key-0123456789"
BASIC_HEADER = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
BEARER_HEADER = f"Bearer {BEARER}"


def _answer(size: int) -> str:
    """A chat completion of `size` bytes, shaped like the one of hermes-agent 0.19.0."""
    completion = {
        "id": "chatcmpl-2d0b2df32658485c8ca114a838190",
        "object": "chat.completion",
        "created": 1795394476,
        "model": "hermes-agent",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "%s"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 911, "completion_tokens": 3, "total_tokens": 914},
    }
    text = json.dumps(completion)
    return text.replace("%s", "x" * (size - len(text) + len("%s")))


ANSWER = _answer(350)


class WrongWork(Exception):
    """A system answered something else than it should: its speed would mean nothing."""


@dataclass(frozen=True)
class Target:
    """Where to send the load, and the size of a right answer, head included."""

    port: int
    authorization: str
    answer_bytes: int


def examine(port: int, authorization: str) -> Target:
    """Hold one system to its work: the right credential gets the upstream's answer, a wrong one 401.

    Raises WrongWork. The upstream answers 401 to anything but its own Bearer, so a 200 shows that it was put in.
    """
    status, body, size = _exchange(port, authorization)
    if (status, body) != (200, ANSWER):
        raise WrongWork(f"the right credential got {status}: {body[:200]}")
    refuses(port, authorization)
    return Target(port, authorization, size)


def refuses(port: int, authorization: str) -> None:
    """Hold one system to its work where the credential is wrong. Raises WrongWork."""
    status, body, _ = _exchange(port, authorization[:-2] + "AA")
    if status != 401:
        raise WrongWork(f"a wrong credential got {status}: {body[:200]}")


def run(wrk: str, target: Target, *, connections: int, seconds: int, core: int) -> Round:
    """One round of load, in whole seconds as wrk counts them."""
    script = Path(__file__).with_name("post.lua")
    command = [wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    done = subprocess.run(
        [
            "taskset",
            "--cpu-list",
            str(core),
            *command,
            "--script",
            str(script),
            f"http://127.0.0.1:{target.port}{PATH}",
        ],
        env=os.environ
        | {
            "BENCH_BODY": REQUEST,
            "BENCH_AUTHORIZATION": target.authorization,
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
    """What the last line of wrk's output says (post.lua writes it)."""
    seen = json.loads(output.splitlines()[-1])
    errors = {kind: count for kind, count in seen["errors"].items() if count}
    # The last answers of a round may have come in part: one per connection at most.
    missing = abs(seen["bytes"] - seen["requests"] * answer_bytes) - connections * answer_bytes
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


def _exchange(port: int, authorization: str) -> tuple[int, str, int]:
    """Status, body and size in bytes, head included, of one answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        connection.request("POST", PATH, REQUEST, headers)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in answer.getheaders())
    return answer.status, body.decode(), len(head) + len("\r\n") + len(body)
