"""The dashboard's sockets without a browser, handshakes included that no browser would make."""

import asyncio
import json
import secrets
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from browser.stage import Way

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = 60.0


async def heard(socket: ClientConnection, wanted: str | bytes) -> str | bytes:
    """The first frame of that kind that contains what is wanted."""
    async with asyncio.timeout(SECONDS):
        async for frame in socket:
            if isinstance(frame, str) and isinstance(wanted, str) and wanted in frame:
                return frame
            if isinstance(frame, bytes) and isinstance(wanted, bytes) and wanted in frame:
                return frame
    raise AssertionError(f"closed without {wanted!r}: {socket.close_code} {socket.close_reason}")


async def refusal(way: Way, target: str, headers: dict[str, str] | None = None) -> Any:
    """The answer to a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with way.socket(target, headers):
            pass
    return refused.value.response


async def test_json_rpc_is_spoken(way: Way) -> None:
    async with way.socket(f"/api/ws?token={await way.token()}") as socket:
        await heard(socket, '"gateway.ready"')
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": "a1", "method": "no.such.method", "params": {}}))
        answer = json.loads(await heard(socket, '"a1"'))

    assert answer["error"]["code"] == -32601


async def test_a_terminal_echoes_binary_and_text(way: Way) -> None:
    async with way.socket(
        f"/api/pty?token={await way.token()}&channel={secrets.token_hex(4)}&cols=80&rows=24"
    ) as terminal:
        await heard(terminal, b"ready")
        await terminal.send(b"Q")
        await heard(terminal, b"Q")
        await terminal.send("Z")
        await heard(terminal, b"Z")


async def test_what_is_published_on_a_channel_is_heard_there(way: Way) -> None:
    token, channel = await way.token(), secrets.token_hex(4)
    async with (
        way.socket(f"/api/events?token={token}&channel={channel}") as events,
        way.socket(f"/api/pub?token={token}&channel={channel}") as publisher,
    ):
        await publisher.send(json.dumps({"hello": "channel"}))
        assert json.loads(await heard(events, "hello")) == {"hello": "channel"}


async def test_the_console_runs_a_command(way: Way) -> None:
    async with way.socket(f"/api/console?token={await way.token()}") as console:
        await heard(console, '"ready"')
        await console.send(json.dumps({"type": "command", "command": "help"}))
        assert "Hermes Console" in await heard(console, '"output"')


async def test_the_kanban_board_tells_of_a_new_task(way: Way) -> None:
    token = await way.token()
    async with way.socket(f"/api/plugins/kanban/events?token={token}&since=0") as events, way.client() as client:
        made = await client.post(
            "/api/plugins/kanban/tasks", json={"title": "dust"}, headers={"X-Hermes-Session-Token": token}
        )
        await heard(events, made.json()["task"]["id"])


async def test_pings_are_answered_and_a_close_in_order_too(way: Way) -> None:
    async with way.socket(f"/api/events?token={await way.token()}&channel={secrets.token_hex(4)}") as socket:
        async with asyncio.timeout(SECONDS):
            await (await socket.ping())
        await socket.close(1000, "enough")

    assert (socket.close_code, socket.close_reason) == (1000, "enough")


@pytest.mark.parametrize("target", ["/api/ws", "/api/pty?token=wrong", "/api/plugins/kanban/events?token=wrong"])
async def test_the_dashboards_403_to_a_handshake_arrives_as_such(way: Way, target: str) -> None:
    response = await refusal(way, target)

    assert (response.status_code, response.body) == (403, b"")
    assert "x-switchboard-started" not in response.headers
