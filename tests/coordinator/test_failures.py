"""Whose failure is it? Each kind with its code, its status and a sentence that names the peer."""

import asyncio
import functools
import socket
from typing import Any

import pytest
from coordinator.stage import OddPeer, Stage, heard, refusal, streaming
from switchboard_coordinator import app
from switchboard_coordinator.peers import watch
from switchboard_mock_agent.agent import MockAgent
from switchboard_relay import Pool
from waiting import until

ROLE = b'data: {"id":"1","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}\n\n'
HELLO = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}]}\n\n'
DONE = b"data: [DONE]\n\n"


async def failure(stage: Stage, peer: str, *, stream: bool, text: str = "hi") -> tuple[int, str, str, str]:
    """Status, code, what is known of the agent's work, and the sentence."""
    answer = await stage.ask(peer, text, stream=stream)
    name = peer.rpartition("@")[2]
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert name in error["message"]
    return answer.status_code, error["code"], answer.headers["x-switchboard-started"], error["message"]


both = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@both
async def test_refused(stage: Stage, stream: bool) -> None:
    stage.peer("tower", 9)
    await stage.start()
    *kind, words = await failure(stage, "tower", stream=stream)
    assert kind == [503, "peer_unavailable", "no"]
    assert "takes no connection at 127.0.0.1:9" in words


async def test_connect_timeout(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "Pool", functools.partial(Pool, connect_seconds=0.2))
    monkeypatch.setattr(watch, "CONNECT_SECONDS", 1.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # fill the backlog: the next connect gets no answer
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        stage.peer("tower", listener.getsockname()[1])
        await stage.start(watched=False)
        *kind, words = await failure(stage, "tower", stream=True)
        assert kind == [504, "peer_timeout", "no"]
        assert "awake" in words
        await until(lambda: stage.was_looked_at("tower"), seconds=10)
        peer = (await stage.peers())["tower"]
        assert (peer["state"], peer["round_trip_ms"]) == ("down", None)
        assert "does not answer" in peer["detail"]
        for one in waiting:
            one.close()


@both
async def test_the_proxys_password_is_wrong(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas", password="another-password-0123456789")
    await stage.start()
    *kind, words = await failure(stage, "nas", stream=stream)
    assert kind == [502, "peer_unauthorized", "no"]
    assert "password" in words
    assert "API_SERVER_KEY" not in words
    assert agent.turns == []
    assert await stage.state("nas") == "unauthorized"


@both
async def test_the_agents_key_is_wrong(stage: Stage, stream: bool) -> None:
    await stage.machine("nas", proxy_key="another-key-of-an-agent-0123456789")
    await stage.start()
    *kind, words = await failure(stage, "nas", stream=stream)
    assert kind == [502, "peer_unauthorized", "no"]
    assert "API_SERVER_KEY" in words
    assert "password" not in words
    assert await stage.state("nas") == "unauthorized"


@both
async def test_the_agent_is_unreachable_behind_its_proxy(stage: Stage, stream: bool) -> None:
    stage.peer("nas", await stage.proxy("nas", 9))
    await stage.start()
    *kind, words = await failure(stage, "nas", stream=stream)
    assert kind == [502, "agent_unreachable", "no"]
    assert "the proxy of nas answers, its agent does not" in words
    assert await stage.state("nas") == "down"


@both
async def test_the_profile_is_not_served(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas", profiles=("default", "work"), multiplex=False)
    await stage.start()
    *kind, words = await failure(stage, "work@nas", stream=stream)
    assert kind == [502, "peer_misconfigured", "no"]
    assert words.startswith("nas does not serve work: ")
    assert agent.turns == []
    peer = (await stage.peers())["nas"]
    assert [profile["state"] for profile in peer["profiles"]] == ["up", "down"]
    assert peer["state"] == "degraded"


@both
async def test_an_agent_at_its_limit_is_sent_the_turn_again_when_it_has_room(stage: Stage, stream: bool) -> None:
    agent = await stage.machine("nas", agent_turns=1)
    await stage.start()
    async with stage.stream("nas", "!!delay=0.05 !!repeat=4000 tick") as running:
        pieces = running.aiter_bytes()
        await anext(pieces)
        asking = asyncio.create_task(stage.ask("nas", "hi", stream=stream))
        await until(lambda: len(turns_asked(agent)) == 2, seconds=5)
    answer = await asking
    assert answer.status_code == 200
    text = (await heard(answer)).text if stream else answer.json()["choices"][0]["message"]["content"]
    assert text == "[nas] echo: hi"
    assert [turn.text for turn in agent.turns] == ["!!delay=0.05 !!repeat=4000 tick", "hi"], "each was executed once"
    told = await stage.turn(answer.headers["x-switchboard-turn"])
    assert told["lanes"][0]["attempts"] == 2
    names = [event["event"] for event in await stage.events(told["id"])]
    assert names[:4] == ["turn.accepted", "lane.sent", "lane.refused", "lane.queued"]
    assert names[4:].count("lane.sent") == 1


def turns_asked(agent: MockAgent) -> list[str]:
    return [request.path for request in agent.requests if request.path.endswith("/chat/completions")]


DRAINING = b'{"error":{"message":"the gateway is draining","type":"server_error","code":"gateway_draining"}}'


@both
async def test_the_agent_is_draining(stage: Stage, stream: bool) -> None:
    await stage.odd("nas", refusal(503, DRAINING, b"Retry-After: 7"))
    await stage.start()
    answer = await stage.ask("nas", "hi", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "peer_unavailable")
    assert answer.headers["retry-after"] == "7"
    assert answer.json()["error"]["message"] == "default@nas takes no turns now: the gateway is draining"


async def test_a_provider_failure_is_passed_on_in_a_stream_and_told_as_a_status_else(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    told = await stage.hear("nas", "!!fail=401 x")
    assert (told.status, told.is_whole) == (200, True)
    assert told.chunks[-1]["hermes"]["failed"] is True
    *kind, words = await failure(stage, "nas", stream=False, text="!!fail=401 x")
    assert kind == [502, "peer_failed", "yes"]
    assert words == "default@nas failed: HTTP 401: the model was told to fail"


@pytest.mark.parametrize("text", ["!!die hello there, you", None], ids=["cut", "ended cleanly"])
async def test_a_stream_without_its_end_mark_is_a_broken_one(stage: Stage, text: str | None) -> None:
    if text is None:
        await stage.odd("nas", streaming(ROLE, HELLO))
    else:
        await stage.machine("nas")
    await stage.start()
    told = await stage.hear("nas", text or "hi")
    assert told.status == 200
    assert told.text
    assert not told.is_whole
    assert [chunk["error"]["code"] for chunk in told.chunks if "error" in chunk] == ["peer_outcome_unknown"]
    assert told.chunks[-1].keys() == {"error"}
    assert "default@nas" in told.chunks[-1]["error"]["message"]
    *kind, _ = await failure(stage, "nas", stream=False, text=text or "hi")
    assert kind == [502, "peer_outcome_unknown", "unknown"]


@both
async def test_no_answer_at_all_is_an_unknown_outcome_and_the_turn_is_sent_once(stage: Stage, stream: bool) -> None:
    odd = await stage.odd("nas", b"")
    await stage.start()
    *kind, words = await failure(stage, "nas", stream=stream)
    assert kind == [502, "peer_outcome_unknown", "unknown"]
    assert "it may have run" in words
    assert odd.turns == 1


async def test_an_agent_that_died_saw_its_turn_once(stage: Stage) -> None:
    agent = await stage.machine("nas")
    await stage.start()
    assert (await stage.ask("nas", "!!die hello there")).status_code == 502
    assert [turn.state for turn in agent.turns] == ["died"]


@both
async def test_an_agent_that_takes_a_turn_and_says_nothing_is_told_by_its_proxy(stage: Stage, stream: bool) -> None:
    agent = await stage.join(OddPeer())
    stage.peer("nas", await stage.proxy("nas", agent.port))
    await stage.start()
    *kind, words = await failure(stage, "nas", stream=stream)
    assert kind == [502, "peer_outcome_unknown", "unknown"]
    assert "it may have run" in words
    assert agent.turns == 1


ODD: dict[str, tuple[bytes, int, str, str]] = {
    "no stream": (refusal(200, b"{}", b"Content-Type: application/json"), 502, "peer_bad_response", "application/json"),
    "no type": (refusal(200, b"{}"), 502, "peer_bad_response", "no type"),
    "no HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", 502, "peer_bad_response", "does not speak HTTP"),
    "redirect": (refusal(302, b"", b"Location: /x"), 502, "peer_bad_response", "status 302"),
    "not found": (refusal(404, b'{"error":"Unknown or unconfigured profile"}'), 404, "invalid_request", "Unknown or"),
    "text": (refusal(500, b"Server got itself in trouble"), 502, "peer_failed", "status 500"),
    "no object": (refusal(500, b"[1]"), 502, "peer_failed", "status 500"),
    "profile": (refusal(404, b'{"error":{"message":"x","code":"profile_unknown"}}'), 502, "peer_misconfigured", "x"),
    "host": (refusal(421, b'{"error":{"message":"x","code":"host_refused"}}'), 502, "peer_misconfigured", "x"),
}


@pytest.mark.parametrize(("sent", "status", "code", "words"), ODD.values(), ids=ODD.keys())
async def test_what_is_no_agents_stream_is_told_as_what_it_is(
    stage: Stage, sent: bytes, status: int, code: str, words: str
) -> None:
    await stage.odd("nas", sent)
    await stage.start()
    *kind, told = await failure(stage, "nas", stream=False)
    assert kind[:2] == [status, code]
    assert words in told


async def test_a_request_that_the_agent_refuses_keeps_its_code_and_param(stage: Stage) -> None:
    await stage.machine("nas")
    await stage.start()
    body = {"model": "nas", "messages": [{"role": "user", "content": [{"type": "file"}]}]}
    answer = await stage.client.post("/v1/chat/completions", json=body)
    error: dict[str, Any] = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "unsupported_content_type")
    assert error["param"] == "messages[0].content"
    assert error["message"].startswith("default@nas refuses the request: Inline image inputs are supported")


async def test_frames_that_follow_unknown_kinds_pass_unchanged(stage: Stage) -> None:
    new = b'event: hermes.new\nid: 7\ndata: {"x": 1}\n\n'
    frames = [ROLE, b": a comment\n\n", new, b"data: not json\n\n", HELLO, DONE]
    await stage.odd("nas", streaming(*frames))
    await stage.start()
    async with stage.stream("nas", "hi") as answer:
        told = await heard(answer)
    assert told.frames == frames


async def test_a_connection_that_breaks_after_the_end_mark_breaks_no_answer(stage: Stage) -> None:
    whole = streaming(b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n', b"data: [DONE]\n\n")
    await stage.odd("nas", whole.removesuffix(b"0\r\n\r\n"))
    await stage.start()
    answer = await stage.ask("nas", "hi")
    assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "hi")
