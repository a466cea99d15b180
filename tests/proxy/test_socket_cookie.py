"""The cookie that stands for Basic on WebSocket handshakes, where a browser sends none (Safari)."""

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from doubles.raw_client import WEBSOCKET, Reply
from doubles.recording_upstream import RecordingUpstream, answer
from doubles.running_proxy import BASIC, RunningProxy, running_proxy, write_secret
from switchboard_proxy.settings import Profile

PAGE = answer(200, "Content-Type: text/html; charset=utf-8", "Set-Cookie: theirs=1", body=b"<html>")


@pytest.fixture
def dashboard_page(dashboard: RecordingUpstream) -> RecordingUpstream:
    dashboard.always(PAGE)
    return dashboard


async def cookie_of(proxy: RunningProxy) -> str:
    """What a browser would send back."""
    [ours] = [value for value in (await proxy.ask("GET", "/")).all("set-cookie") if "switchboard_socket" in value]
    return ours.split(";")[0]


async def handshake(proxy: RunningProxy, *headers: str) -> Reply:
    return await proxy.ask("GET", "/api/ws", *WEBSOCKET, *headers, credential=None)


async def test_a_page_brings_it_once_basic_was_shown(proxy: RunningProxy, dashboard_page: RecordingUpstream) -> None:
    reply = await proxy.ask("GET", "/chat")
    theirs, ours = reply.all("set-cookie")
    assert theirs == "theirs=1"
    assert re.fullmatch(
        r"switchboard_socket_[0-9a-f]{12}=\d+\.[0-9a-f]{64}; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict", ours
    )


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/javascript"])
async def test_nothing_but_a_page_does(kind: str, proxy: RunningProxy, dashboard: RecordingUpstream) -> None:
    dashboard.always(answer(200, f"Content-Type: {kind}", body=b"{}"))
    assert (await proxy.ask("GET", "/")).all("set-cookie") == []
    assert (await proxy.ask("GET", "/", credential=None)).all("set-cookie") == []


async def test_an_agents_answer_brings_none(proxy: RunningProxy, agent: RecordingUpstream) -> None:
    agent.always(PAGE)
    assert (await proxy.ask("GET", "/v1/x")).all("set-cookie") == ["theirs=1"]


async def test_it_opens_a_socket_for_the_proxys_own_pages(
    proxy: RunningProxy, dashboard_page: RecordingUpstream
) -> None:
    cookie = await cookie_of(proxy)
    reply = await handshake(proxy, f"Origin: http://{proxy.host}", f"Cookie: a=b; {cookie}; c=d")
    assert reply.status == 200  # this dashboard does not speak WebSocket; it was asked
    assert dashboard_page.requests[-1].all("cookie") == ["a=b; c=d"]
    assert dashboard_page.requests[-1].all("authorization") == []


async def test_it_opens_nothing_else(proxy: RunningProxy, dashboard_page: RecordingUpstream) -> None:
    cookie = f"Cookie: {await cookie_of(proxy)}"
    asked = len(dashboard_page.requests)
    own = f"Origin: http://{proxy.host}"
    assert (await handshake(proxy, cookie)).status == 401
    assert (await handshake(proxy, cookie, "Origin: http://evil.example")).status == 401
    assert (await handshake(proxy, cookie[:-1] + ("1" if cookie[-1] == "0" else "0"), own)).status == 401
    for path in ("/", "/v1/models", "/-/ready"):
        assert (await proxy.ask("GET", path, cookie, own, credential=None)).status == 401
    assert (await proxy.ask("POST", "/v1/chat/completions", cookie, own, body=b"{}", credential=None)).status == 401
    assert len(dashboard_page.requests) == asked


async def test_it_dies_with_its_pair(proxy: RunningProxy, dashboard_page: RecordingUpstream, tmp_path: Path) -> None:
    headers = (f"Origin: http://{proxy.host}", f"Cookie: {await cookie_of(proxy)}")
    (tmp_path / "proxy_password").unlink()
    write_secret(tmp_path / "proxy_password", "fedcba9876543210fedcba9876543210")
    assert (await handshake(proxy, *headers)).status == 200
    assert any(secret.refresh() for secret in proxy.app.secrets)
    proxy.app.renew()
    assert (await handshake(proxy, *headers)).status == 401


async def test_it_lasts_twelve_hours(
    proxy: RunningProxy, dashboard_page: RecordingUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = (f"Origin: http://{proxy.host}", f"Cookie: {await cookie_of(proxy)}")
    now = time.time()
    for hours, status in ((11.9, 200), (12.1, 401)):
        monkeypatch.setattr(time, "time", lambda later=now + 3600 * hours: later)
        assert (await handshake(proxy, *headers)).status == status


@pytest.fixture
async def on_https(
    agent: RecordingUpstream, dashboard_page: RecordingUpstream, tmp_path: Path
) -> AsyncIterator[RunningProxy]:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(
        tmp_path, profiles, dashboard_page.port, behind_serve=True, names=("nas.example",)
    ) as running:
        yield running


async def test_on_https_it_is_secure_and_bound_to_its_host(on_https: RunningProxy) -> None:
    [_, ours] = (await served(on_https, "/")).all("set-cookie")
    assert ours.startswith("__Host-switchboard_socket_")
    assert ours.endswith("; HttpOnly; SameSite=Strict; Secure")
    cookie = f"Cookie: {ours.split(';')[0]}"
    for origin, status in (("https://nas.example", 200), ("http://nas.example", 401)):
        reply = await served(on_https, "/api/ws", *WEBSOCKET, cookie, f"Origin: {origin}", credential=None)
        assert reply.status == status


async def served(proxy: RunningProxy, path: str, *headers: str, credential: str | None = BASIC) -> Reply:
    async with proxy.connect() as client:
        client.send(proxy.head("GET", path, "Host: nas.example", *headers, host=False, credential=credential))
        return await client.reply()
