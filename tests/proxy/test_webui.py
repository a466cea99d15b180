"""A hermes-webui below /webui/, and what is switched off."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.raw_client import RawClient
from doubles.recording_upstream import RecordingUpstream, recording_upstream
from doubles.running_proxy import RunningProxy, running_proxy
from doubles.webui import webui
from switchboard_proxy.settings import Profile


@pytest.fixture
async def page() -> AsyncIterator[RecordingUpstream]:
    async with recording_upstream() as upstream:
        upstream.script = webui
        yield upstream


@pytest.fixture
async def door(
    agent: RecordingUpstream, dashboard: RecordingUpstream, page: RecordingUpstream, tmp_path: Path
) -> AsyncIterator[RunningProxy]:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(tmp_path, profiles, dashboard.port, webui=True, webui_port=page.port) as running:
        yield running


async def test_it_is_asked_without_the_prefix_by_its_own_name_and_from_nowhere(
    door: RunningProxy, page: RecordingUpstream
) -> None:
    here = f"http://{door.host}"
    sent = (f"Origin: {here}", f"Referer: {here}/webui/", "Sec-Fetch-Site: same-origin", "Cookie: hermes_session=1")
    reply = await door.ask("POST", "/webui/api/chat?x=1", *sent, body=b"hi")
    assert (reply.status, reply.body) == (200, b"/api/chat?x=1")
    [asked] = page.requests
    assert (asked.all("host"), asked.body) == ([f"127.0.0.1:{page.port}"], b"hi")
    assert (asked.all("origin"), asked.all("referer"), asked.all("authorization")) == ([], [], [])
    assert asked.all("cookie") == ["hermes_session=1"]


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ("Accept: */*", 200),
        ("Origin: http://nas.example:9121", 403),
        ("Referer: http://nas.example:9121/webui/", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-origin", 200),
    ],
)
async def test_by_itself_it_refuses_what_a_browser_says_at_the_proxys_name(
    told: str, status: int, page: RecordingUpstream
) -> None:
    async with RawClient(page.port) as client:
        head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n{told}\r\nContent-Length: 0\r\n\r\n"
        client.send(head.encode())
        assert (await client.reply()).status == status


async def test_where_it_leads_is_below_the_prefix(door: RunningProxy) -> None:
    for path, location in (("/webui/", "/webui/login?next=/"), ("/webui/elsewhere", "/webui/login")):
        reply = await door.ask("GET", path)
        assert (reply.status, reply["location"]) == (302, location)
    assert (await door.ask("GET", "/webui/")).all("set-cookie") == [
        "hermes_session=1; Path=/webui/; HttpOnly; SameSite=Lax"
    ]


async def test_its_name_alone_leads_to_its_page(door: RunningProxy, page: RecordingUpstream) -> None:
    reply = await door.ask("GET", "/webui?x=1")
    assert (reply.status, reply["location"]) == (308, "webui/?x=1")
    assert page.connections == 0


@pytest.mark.parametrize("header", ["Origin: http://evil.example", "Referer: http://evil.example/page"])
async def test_a_page_of_another_origin_changes_nothing(
    header: str, door: RunningProxy, page: RecordingUpstream
) -> None:
    reply = await door.ask("POST", "/webui/api/chat", header, "Content-Type: text/plain", body=b"{}")
    assert (reply.status, reply.json()["error"]["code"]) == (403, "origin_refused")
    assert page.connections == 0


async def test_a_link_from_elsewhere_may_be_followed(door: RunningProxy) -> None:
    assert (await door.ask("GET", "/webui/x", "Referer: http://elsewhere.example/page")).status == 200


async def test_what_is_not_there_is_told(agent: RecordingUpstream, tmp_path: Path) -> None:
    async with running_proxy(tmp_path, {"default": Profile(port=1)}, 2, webui=True, webui_port=3) as proxy:
        reply = await proxy.ask("GET", "/webui/")
        assert (reply.status, reply.json()["error"]["code"]) == (502, "webui_unreachable")


@pytest.mark.parametrize(
    ("side", "path"), [("agent", "/v1/models"), ("dashboard", "/api/status"), ("webui", "/webui/x")]
)
async def test_each_upstream_can_be_switched_off(
    side: str, path: str, agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> None:
    async with running_proxy(
        tmp_path,
        {"default": Profile(port=agent.port)},
        dashboard.port,
        agent=side != "agent",
        dashboard=side != "dashboard",
        webui=side != "webui",
    ) as proxy:
        reply = await proxy.ask("GET", path)
        assert (reply.status, reply.json()["error"]["code"]) == (404, "not_found")
        assert side in reply.json()["error"]["message"]
    assert (agent.connections, dashboard.connections) == (0, 0)
