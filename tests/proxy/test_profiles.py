"""What a proxy tells about its agents at `/-/profiles`."""

import asyncio
import json
from typing import Any

import pytest
from doubles.recording_upstream import Asked, RecordingUpstream, answer
from doubles.running_proxy import RunningProxy
from recorded.exchanges import exchanges

MODELS = answer(200, body=b'{"data":[{"id":"hermes-agent"}]}')
RECORDED: dict[str, Any] = json.loads(exchanges("api-02-health-detailed")[0].body)
NOT_READY = {"status": "degraded", "checks": {"state_db": {"status": "ok"}, "disk": {"status": "failed"}}}


async def report(proxy: RunningProxy, agent: RecordingUpstream, *, models: bytes = MODELS, health: bytes) -> Any:
    """What it tells of its one profile when the agent answers so."""

    async def script(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(models if asked.target == "/v1/models" else health)

    agent.script = script
    [told] = (await proxy.ask("GET", "/-/profiles")).json()["profiles"]
    return told


def healthy(**changed: Any) -> bytes:
    """The recorded answer to `/health/detailed`, with these values in place of its own."""
    return answer(200, body=json.dumps({**RECORDED, **changed}).encode())


async def test_an_agent_that_says_that_it_is_ready_is_up(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    told = await report(proxy, agent, health=healthy())
    assert told == {"name": "default", "state": "up", "detail": None, "agent_version": "0.19.0"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"gateway_state": "draining"}, "the agent's gateway is draining, not running"),
        ({"status": "degraded", "readiness": NOT_READY}, "not ready: disk"),
        ({"status": "degraded", "readiness": {}}, "not ready: degraded"),
    ],
)
async def test_an_agent_that_says_with_200_that_it_is_not_ready_is_degraded(
    proxy: RunningProxy, agent: RecordingUpstream, changed: dict[str, Any], words: str
) -> None:
    told = await report(proxy, agent, health=healthy(**changed))
    assert (told["state"], told["agent_version"]) == ("degraded", "0.19.0")
    assert words in told["detail"]


async def test_an_agent_that_does_not_tell_its_gateways_state_is_believed(
    proxy: RunningProxy, agent: RecordingUpstream
) -> None:
    assert (await report(proxy, agent, health=answer(200, body=b'{"status":"ok"}')))["state"] == "up"


async def test_an_agent_that_tells_nothing_of_its_readiness_is_degraded(
    proxy: RunningProxy, agent: RecordingUpstream
) -> None:
    told = await report(proxy, agent, health=answer(404, body=b"404: Not Found"))
    assert (told["state"], told["agent_version"]) == ("degraded", None)


async def test_an_agent_without_models_is_down(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    told = await report(proxy, agent, models=answer(500), health=healthy())
    assert told["state"] == "down"
    assert "500" in told["detail"]
