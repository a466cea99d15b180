import asyncio

import openai
import pytest
from switchboard_coordinator.address import MODES

from real_agent.stage import Stage

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_openai_sdk_lists_models_streams_and_answers_unmodified(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")  # it reads the environment of the machine

    models, streamed, whole = await asyncio.to_thread(_use, f"{stage.switchboard.url}/v1", stage.switchboard.key)

    groups = [f"{mode}@{group}" for group in ("fleet", "code") for mode in MODES]
    assert models == ["default@nas", "work@nas", "default@laptop", *groups]
    assert streamed == "[nas/work] echo: hello"
    assert whole == "[laptop] echo: hello"


async def test_the_openai_sdk_raises_its_own_error_for_a_failed_turn(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    with pytest.raises(openai.InternalServerError) as caught:
        await asyncio.to_thread(_fail, f"{stage.switchboard.url}/v1", stage.switchboard.key)

    assert caught.value.status_code == 502
    assert caught.value.code == "peer_failed"


def _use(url: str, key: str) -> tuple[list[str], str, str]:
    with openai.OpenAI(base_url=url, api_key=key) as client:
        models = [model.id for model in client.models.list()]
        chunks = client.chat.completions.create(
            model="work@nas", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        whole = client.chat.completions.create(model="laptop", messages=[{"role": "user", "content": "hello"}])
    return models, streamed, whole.choices[0].message.content or ""


def _fail(url: str, key: str) -> None:
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        client.chat.completions.create(model="nas", messages=[{"role": "user", "content": "!!fail=401 x"}])
