import json

import pytest

from bench.load import ANSWER, STREAMED_ANSWER, TEXT, read_round


def wrk_output(*, requests: int = 1000, answer_bytes: int = 500, **errors: int) -> str:
    none = dict.fromkeys(["connect", "read", "write", "status", "timeout"], 0)
    seen = {"requests": requests, "bytes": requests * answer_bytes, "duration_us": 2_000_000, "p50_us": 250}
    return "Running 2s test\n" + json.dumps({**seen, "p99_us": 1500, "errors": {**none, **errors}}) + "\n"


def test_the_upstream_answers_a_completion_of_350_bytes() -> None:
    assert len(ANSWER) == 350
    assert json.loads(ANSWER)["object"] == "chat.completion"


def test_the_stream_says_what_the_whole_answer_says() -> None:
    *frames, done = STREAMED_ANSWER.removesuffix("\n\n").split("\n\n")
    role, *texts, finish = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert done == "data: [DONE]"
    assert role["choices"][0]["delta"] == {"role": "assistant"}
    assert "".join(text["choices"][0]["delta"]["content"] for text in texts) == TEXT
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"] == json.loads(ANSWER)["usage"]
    assert finish["usage"]["completion_tokens"] == len(texts)


def test_a_round_is_read_in_seconds_and_milliseconds() -> None:
    seen = read_round(wrk_output(), connections=16, answer_bytes=500)
    assert (seen.requests_per_second, seen.p50_ms, seen.p99_ms, seen.failure) == (500, 0.25, 1.5, "")


@pytest.mark.parametrize("kind", ["connect", "read", "write", "status", "timeout", "text"])
def test_a_single_error_fails_the_round(kind: str) -> None:
    assert read_round(wrk_output(**{kind: 1}), connections=16, answer_bytes=500).failure == f"errors: 1 {kind}"


def test_answers_of_another_size_fail_the_round_though_wrk_saw_no_error() -> None:
    assert "another size" in read_round(wrk_output(answer_bytes=400), connections=16, answer_bytes=500).failure


def test_where_the_size_varies_it_is_not_looked_at() -> None:
    assert not read_round(wrk_output(answer_bytes=400), connections=16, answer_bytes=0).failure


def test_the_answers_cut_off_by_the_end_of_a_round_are_no_failure() -> None:
    whole = json.loads(wrk_output().splitlines()[-1])
    whole["bytes"] += 16 * 499
    assert not read_round(json.dumps(whole), connections=16, answer_bytes=500).failure


def test_a_round_without_an_answer_has_failed() -> None:
    assert read_round(wrk_output(requests=0), connections=16, answer_bytes=500).failure == "no answer at all"
