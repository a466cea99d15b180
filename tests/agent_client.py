"""A client of a mock agent, and what it asks."""

import json
import ssl
from typing import Any

import httpx
from switchboard_mock_agent.agent import MockAgent

CHAT = "/v1/chat/completions"
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For plain http: httpx loads the system's for every client, which takes 30 ms."""


def client(agent: MockAgent) -> httpx.AsyncClient:
    """A client with the agent's key."""
    headers = {"authorization": f"Bearer {agent.key}"}
    base_url = f"http://127.0.0.1:{agent.api_port}"
    return httpx.AsyncClient(base_url=base_url, headers=headers, timeout=10, trust_env=False, verify=NO_CERTIFICATES)


def body(text: str, *earlier: tuple[str, str], stream: bool = True) -> dict[str, Any]:
    """A chat request; `earlier` are the messages before it, each as (role, content)."""
    messages = [{"role": role, "content": content} for role, content in (*earlier, ("user", text))]
    return {"model": "hermes-agent", "stream": stream, "messages": messages}


def text_of(stream: str) -> str:
    """The text of a streamed chat answer."""
    values = [json.loads(line[6:]) for line in stream.split("\n") if line.startswith('data: {"id"')]
    return "".join(value["choices"][0]["delta"].get("content", "") for value in values)
