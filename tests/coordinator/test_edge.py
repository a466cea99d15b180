"""What holds for every request: who asks, in which shape errors are told, what is logged."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog
from coordinator.stage import Stage, heard, plain_client, question
from structlog.testing import LogCapture
from switchboard_coordinator.address import MODES
from switchboard_coordinator.keys.consumers_file import add_consumer, read_consumers
from switchboard_coordinator.surfaces.edge import Edge
from switchboard_coordinator.surfaces.openai import ChatCompletions
from switchboard_coordinator.surfaces.reply import Reply
from waiting import until

ENVELOPE = {"message", "type", "param", "code"}


@pytest.fixture
def log() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture
    structlog.reset_defaults()


async def alone(stage: Stage) -> None:
    stage.peer("tower", 9)
    await stage.start()


@pytest.mark.parametrize("authorization", [None, "Bearer sk-wrong", "Basic x", "Bearer"])
async def test_a_missing_or_wrong_key_is_refused_in_openais_envelope(stage: Stage, authorization: str | None) -> None:
    await alone(stage)
    async with plain_client(base_url=stage.url) as client:
        headers = {"authorization": authorization} if authorization else {}
        for request in (
            client.build_request("GET", "/v1/models", headers=headers),
            client.build_request("POST", "/v1/chat/completions", headers=headers, json=question("tower", "hi")),
        ):
            answer = await client.send(request)
            assert answer.status_code == 401
            assert answer.json()["error"].keys() == ENVELOPE
            assert answer.json()["error"]["code"] == "invalid_api_key"
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["x-request-id"]
        elsewhere = await client.get("/api/peers", headers=headers)
        assert elsewhere.status_code == 401
        assert elsewhere.headers["content-type"] == "application/problem+json"
        assert elsewhere.json()["code"] == "invalid_api_key"


async def test_health_and_readiness_need_no_key(stage: Stage) -> None:
    await alone(stage)
    async with plain_client(base_url=stage.url) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_models_are_all_addresses_offline_ones_too_and_all_groups(stage: Stage) -> None:
    await stage.machine("nas", profiles=("default", "work"), capabilities=["code"])
    stage.peer("tower", 9, profiles={"default": {"capabilities": ["gpu"]}})
    await stage.start()
    models = (await stage.client.get("/v1/models")).json()
    assert models["object"] == "list"
    ids = ["default@nas", "work@nas", "default@tower"]
    ids += [f"{mode}@{group}" for group in ("fleet", "code", "gpu") for mode in MODES]
    assert [model["id"] for model in models["data"]] == ids
    assert all(model["name"] == model["id"] for model in models["data"])
    assert {model["object"] for model in models["data"]} == {"model"}
    for model in models["data"]:
        assert (await stage.client.get(f"/v1/models/{model['id']}")).json() == model


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("GET", "/v1/models/nobody@nas", None, 404, "model_not_found"),
        ("POST", "/v1/chat/completions", b"{nope", 400, "invalid_request"),
        ("POST", "/v1/chat/completions", b'{"model":"tower"}', 400, "invalid_request"),
        ("POST", "/v1/chat/completions", b'{"model":"x","messages":[{}]}', 404, "model_not_found"),
        ("POST", "/v1/chat/completions", b'{"model":"any@nowhere","messages":[{}]}', 404, "model_not_found"),
        ("POST", "/v1/chat/completions", b" " * 10_000_001, 413, "body_too_large"),
        ("GET", "/v1/chat/completions", None, 405, "method_not_allowed"),
        ("POST", "/v1/embeddings", b"{}", 404, "not_found"),
        ("GET", "/api/peers/laptop", None, 404, "not_found"),
        ("DELETE", "/api/peers", None, 405, "method_not_allowed"),
        ("POST", "/api/remote-agent/invoke", b'{"target":"tower"}', 400, "invalid_request"),
        ("POST", "/api/remote-agent/invoke", b'{"target":"laptop","message":"x"}', 404, "model_not_found"),
        ("POST", "/api/remote-agent/invoke", b'{"target":"tower","message":"x"}', 503, "peer_unavailable"),
        ("GET", "/other", None, 404, "not_found"),
    ],
)
async def test_an_error_has_the_shape_of_its_surface(
    stage: Stage, method: str, path: str, content: bytes | None, status: int, code: str
) -> None:
    await alone(stage)
    answer = await stage.client.request(method, path, content=content)
    assert answer.status_code == status
    assert answer.headers["x-request-id"]
    assert answer.headers["x-switchboard-started"] == "no"
    told: dict[str, Any] = answer.json()
    if path.startswith("/v1/"):
        assert answer.headers["content-type"] == "application/json"
        assert told["error"].keys() == ENVELOPE
        assert told["error"]["code"] == code
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        assert told.keys() == {"type", "title", "status", "detail", "code"}
        assert (told["status"], told["code"]) == (status, code)


async def test_a_request_is_one_log_line_without_key_query_or_body(stage: Stage, log: LogCapture) -> None:
    await stage.machine("nas")
    await stage.start()
    log.entries.clear()
    body = question("nas", "a-word-of-the-body")
    answer = await stage.client.post("/v1/chat/completions?token=a-word-of-the-query", json=body)
    (line,) = [entry for entry in log.entries if entry.get("consumer") == "me"]
    assert line["event"] == "request"
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 200)
    assert line["model"] == "nas"
    assert line["duration_ms"] > 0
    everything = str(log.entries)
    assert not [word for word in (stage.key, "a-word-of-the-query", "a-word-of-the-body") if word in everything]


async def test_the_log_says_how_a_request_went_wrong(stage: Stage, log: LogCapture) -> None:
    await stage.machine("nas")
    await stage.start()

    def outcomes() -> list[object]:
        lines = [entry for entry in log.entries if entry.get("path") == "/v1/chat/completions" and "consumer" in entry]
        return [line.get("outcome") or line.get("code") for line in lines]

    await stage.ask("laptop", "hi")
    await stage.hear("nas", "!!fail=500 x")
    async with stage.stream("nas", "!!delay=0.02 !!repeat=4000 tick") as answer:
        await anext(answer.aiter_bytes())
    await until(lambda: len(outcomes()) == 3, seconds=5)
    assert outcomes() == ["model_not_found", "failed", "client_left"]


async def test_a_fault_of_ours_is_told_and_logged_under_the_requests_id(
    stage: Stage, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret detail")

    await alone(stage)
    monkeypatch.setattr(ChatCompletions, "_answer", broken)
    answer = await stage.ask("tower", "hi", headers={"x-request-id": "r7"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "r7"
    assert answer.headers["x-switchboard-started"] == "unknown"
    assert answer.json()["error"]["code"] == "internal_error"
    assert "secret" not in answer.text
    (line,) = [entry for entry in log.entries if entry["event"] == "request" and entry["request_id"] == "r7"]
    assert (line["status"], line["code"]) == (500, "internal_error")
    (fault,) = [entry for entry in log.entries if entry["event"] == "fault"]
    assert fault["request_id"] == "r7"
    assert fault["exc_info"]


async def test_a_fault_of_ours_in_the_middle_of_a_stream_breaks_it_off(
    stage: Stage, log: LogCapture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    await stage.machine("nas")
    await stage.start()
    monkeypatch.setattr(Reply, "show", broken)
    with pytest.raises(httpx.RemoteProtocolError):
        async with stage.stream("all@fleet", "hi") as answer:
            await heard(answer)
    assert [entry["log_level"] for entry in log.entries if entry["event"] == "fault"] == ["error"]


async def test_what_is_no_request_passes_the_edge(tmp_path: Any) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    add_consumer(tmp_path / "consumers", "me")
    await Edge(app, read_consumers(tmp_path / "consumers"))({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]


async def test_a_path_with_one_slash_too_many_is_none_of_ours(stage: Stage) -> None:
    stage.peer("nas", 9)
    await stage.start()
    answer = await stage.client.get("/v1/models/")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
