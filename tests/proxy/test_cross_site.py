"""A foreign page that uses a browser's cached credential starts no turn; without the check it would."""

from pathlib import Path

import httpx
import pytest
from doubles.running_proxy import KEY, running_proxy
from switchboard_mock_agent.agent import MockAgent
from switchboard_proxy.settings import Profile

TURN = b'{"model":"hermes-agent","messages":[{"role":"user","content":"ping"}]}'


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1"])
async def test_a_cross_site_form_with_the_cached_credential_runs_nothing(origin: str, tmp_path: Path) -> None:
    async with MockAgent("nas", key=KEY) as mock:
        profiles = {"default": Profile(port=mock.api_port)}
        async with running_proxy(tmp_path, profiles, mock.dashboard_port) as proxy:
            headers = (f"Origin: {origin}", "Content-Type: text/plain")
            reply = await proxy.ask("POST", "/v1/chat/completions", *headers, body=TURN)
            assert (reply.status, reply.json()["error"]["code"]) == (403, "origin_refused")
            assert mock.turns == []


async def test_the_agent_by_itself_runs_it(tmp_path: Path) -> None:
    async with MockAgent("nas", key=KEY) as mock, httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "text/plain"}
        url = f"http://127.0.0.1:{mock.api_port}/v1/chat/completions"
        assert (await client.post(url, content=TURN, headers=headers)).status_code == 200
        assert [turn.text for turn in mock.turns] == ["ping"]
