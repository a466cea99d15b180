"""Behind Tailscale Serve, and with a tailscaled to ask who calls."""

from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from doubles.local_api import LocalApi, local_api, node
from doubles.raw_client import Reply, basic
from doubles.recording_upstream import RecordingUpstream
from doubles.running_proxy import BASIC, RunningProxy, running_proxy
from pydantic import ValidationError
from switchboard_proxy.settings import Profile, ProxySettings

NAME = "nas.tail1234.ts.net"
ORIGIN = f"https://{NAME}"
LAPTOP, PHONE = "100.64.0.9", "100.64.0.7"


async def served(
    proxy: RunningProxy, path: str, *headers: str, host: str = NAME, caller: str = LAPTOP, credential: str = BASIC
) -> Reply:
    """One request as Serve passes it on: what the client claims comes first, Serve's word last."""
    async with proxy.connect() as client:
        claimed = (f"Host: {host}", f"X-Forwarded-For: 1.2.3.4, {caller}", "X-Forwarded-Proto: https")
        client.send(proxy.head("GET", path, *claimed, *headers, host=False, credential=credential))
        return await client.reply()


@pytest.fixture
async def behind_serve(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> AsyncIterator[RunningProxy]:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(tmp_path, profiles, dashboard.port, behind_serve=True, names=(NAME,)) as running:
        yield running


async def test_the_caller_is_who_serve_says_and_the_page_is_on_https(
    behind_serve: RunningProxy, agent: RecordingUpstream
) -> None:
    for host, origin in ((NAME, ORIGIN), (f"{NAME}:443", ORIGIN), (NAME.upper(), ORIGIN)):
        assert (await served(behind_serve, "/v1/models", f"Origin: {origin}", host=host)).status == 200
    assert {line["client"] for line in behind_serve.log.lines} == {LAPTOP}
    assert not [header for asked in agent.requests for header in asked.headers if "forwarded" in header[0].lower()]


async def test_other_names_and_origins_are_refused(behind_serve: RunningProxy, agent: RecordingUpstream) -> None:
    for origin in (f"http://{NAME}", f"{ORIGIN}:8443", f"http://{behind_serve.host}.evil", "https://evil.example"):
        assert (await served(behind_serve, "/v1/models", f"Origin: {origin}")).status == 403
    assert (await served(behind_serve, "/v1/models", host="evil.example")).status == 421
    assert agent.connections == 0


async def test_serve_may_have_another_port(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> None:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(
        tmp_path, profiles, dashboard.port, behind_serve=True, serve_port=8443, names=(NAME,)
    ) as running:
        host, origin = f"{NAME}:8443", f"{ORIGIN}:8443"
        assert (await served(running, "/v1/models", f"Origin: {origin}", host=host)).status == 200
        assert (await served(running, "/v1/models", f"Origin: {ORIGIN}", host=host)).status == 403
        for other in (NAME, f"{NAME}:443"):
            assert (await served(running, "/v1/models", host=other)).status == 421


async def test_this_machine_may_ask_by_the_address(behind_serve: RunningProxy) -> None:
    assert (await behind_serve.ask("GET", "/-/ready")).status == 200


async def test_each_caller_is_locked_out_for_itself(behind_serve: RunningProxy) -> None:
    wrong = basic("coordinator", "not-the-password-of-this-peer")
    for _ in range(11):
        last = await served(behind_serve, "/v1/models", credential=wrong)
    assert last.status == 429
    assert (await served(behind_serve, "/v1/models", credential=wrong, caller=PHONE)).status == 401


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen_address": "100.64.0.9", "names": NAME}, "loopback"),
        ({"listen_address": "127.0.0.1"}, "needs names"),
    ],
)
def test_serve_needs_loopback_and_a_name(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ProxySettings(behind_serve=True, **settings)  # type: ignore[arg-type]


async def test_origins_may_be_added(agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path) -> None:
    profiles = {"default": Profile(port=agent.port)}
    async with running_proxy(tmp_path, profiles, dashboard.port, public_origins=("https://board.example",)) as proxy:
        assert (await proxy.ask("GET", "/v1/models", "Origin: https://board.example")).status == 200
        assert (await proxy.ask("GET", "/v1/models", "Origin: http://board.example")).status == 403


@pytest.fixture
async def tailscaled(tmp_path: Path) -> AsyncIterator[LocalApi]:
    async with local_api(tmp_path / "tailscaled.sock") as running:
        yield running


@pytest.fixture
async def asking(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tailscaled: LocalApi, tmp_path: Path
) -> AsyncIterator[RunningProxy]:
    async with running_proxy(
        tmp_path,
        {"default": Profile(port=agent.port)},
        dashboard.port,
        behind_serve=True,
        names=(NAME,),
        tailscale_socket=tmp_path / "tailscaled.sock",
        allowed_callers=("laptop", "tag:switchboard"),
    ) as running:
        yield running


async def test_an_allowed_node_or_tag_passes_and_is_named_in_the_log(
    asking: RunningProxy, tailscaled: LocalApi
) -> None:
    tailscaled.answers = {LAPTOP: node("laptop"), PHONE: node("phone", tags=("tag:switchboard",))}
    for caller in (LAPTOP, PHONE):
        assert (await served(asking, "/v1/models", caller=caller)).status == 200
    assert [line["caller"] for line in asking.log.lines] == ["laptop", "phone"]


async def test_another_node_is_refused_with_the_right_credential_too(
    asking: RunningProxy, tailscaled: LocalApi, agent: RecordingUpstream
) -> None:
    tailscaled.answers = {PHONE: node("phone")}
    for caller in (PHONE, "100.64.0.8"):
        reply = await served(asking, "/v1/models", caller=caller)
        assert (reply.status, reply.json()["error"]["code"]) == (403, "caller_refused")
    assert agent.connections == 0


async def test_without_tailscaled_nobody_passes(
    agent: RecordingUpstream, dashboard: RecordingUpstream, tmp_path: Path
) -> None:
    async with running_proxy(
        tmp_path,
        {"default": Profile(port=agent.port)},
        dashboard.port,
        tailscale_socket=tmp_path / "none.sock",
        allowed_callers=("laptop",),
    ) as proxy:
        reply = await proxy.ask("POST", "/v1/chat/completions", body=b"{}")
        assert (reply.status, reply.json()["error"]["code"]) == (503, "caller_unknown")
        assert reply["x-switchboard-started"] == "no"
    assert agent.connections == 0


async def test_a_stranger_is_not_asked_about(asking: RunningProxy, tailscaled: LocalApi) -> None:
    assert (await served(asking, "/v1/models", credential="Basic eDp5")).status == 401
    assert not tailscaled.questions


@pytest.mark.parametrize("settings", [{"tailscale_socket": "/run/tailscaled.sock"}, {"allowed_callers": "laptop"}])
def test_a_socket_and_who_is_allowed_go_together(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="go together"):
        ProxySettings(listen_address=ip_address("127.0.0.1"), **settings)  # type: ignore[arg-type]
