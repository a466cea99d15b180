"""The command `switchboard-mock-agent`: one mock agent, described by its environment, until SIGTERM."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from .agent import MockAgent

PREFIX = "SWITCHBOARD_MOCK_AGENT_"
EX_SIGTERM = 1
"""What hermes-agent 0.19.0 exits with on SIGTERM; a supervisor must not read it as a crash."""

KEPT = 10_000
"""Turns and requests on record: it may run for long."""


def main() -> None:
    """Run the command."""
    key = Path(_setting("KEY_FILE", "/run/agent/api_server_key")).read_text().strip()
    sys.exit(asyncio.run(_run(key)))


async def _run(key: str) -> int:
    told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(status: int) -> None:
        if not told.done():
            told.set_result(status)

    for number, status in ((signal.SIGTERM, EX_SIGTERM), (signal.SIGINT, 0)):
        asyncio.get_running_loop().add_signal_handler(number, end, status)
    async with MockAgent(
        _setting("NAME", "mock"),
        key=key,
        profiles=_setting("PROFILES", "default").split(","),
        multiplex=_setting("MULTIPLEX", "no") == "yes",
        max_turns=int(_setting("MAX_TURNS", "10")),
        api_port=int(_setting("API_PORT", "8642")),
        dashboard_port=int(_setting("DASHBOARD_PORT", "9119")),
        keep=KEPT,
    ):
        return await told


def _setting(name: str, default: str) -> str:
    return os.environ.get(PREFIX + name) or default
