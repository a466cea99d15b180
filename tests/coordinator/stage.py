"""Machines and a coordinator on loopback, in the event loop of the test: mock agents, real proxies, real servers."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import yaml
from doubles.running_proxy import RunningProxy, serving_proxy
from doubles.serving import listening, serving
from switchboard_coordinator.app import create_app
from switchboard_coordinator.keys.consumers_file import add_consumer, read_consumers
from switchboard_coordinator.peers.peers_file import read_peers
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_coordinator.turn import OVER
from switchboard_mock_agent.agent import MockAgent
from switchboard_proxy.settings import Profile, ProxySettings
from waiting import until

PASSWORD = "a-password-of-a-proxy-0123456789"
AGENT_KEY = "a-key-of-an-agent-0123456789abcdef"
WAIT_SECONDS = 10.0
_NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # httpx loads them for every client, which takes 30 ms

Odd = TypeVar("Odd", bound="OddPeer")


@dataclass
class Heard:
    """A stream as a client hears it."""

    status: int
    headers: httpx.Headers
    frames: list[bytes] = field(default_factory=list)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON of every frame that holds some."""
        found = (frame.partition(b"data: ")[2].strip() for frame in self.frames)
        return [json.loads(data) for data in found if data.startswith(b"{")]

    @property
    def text(self) -> str:
        """What choice 0 says."""
        return self.text_of(0)

    def text_of(self, choice: int) -> str:
        """What one choice says."""
        choices = [entry for chunk in self.chunks for entry in chunk.get("choices", ())]
        return "".join(entry["delta"].get("content") or "" for entry in choices if entry["index"] == choice)

    @property
    def is_whole(self) -> bool:
        """Whether the end mark came."""
        return bool(self.frames) and self.frames[-1] == b"data: [DONE]\n\n"


class OddPeer:
    """Says that its profile `default` is up, answers every turn with the same bytes and hangs up; counts."""

    def __init__(self, answer: bytes = b"", *, is_mute: bool = False) -> None:
        self.port = 0
        self.looks = self.turns = 0
        self.paths: list[str] = []
        self.report = b'{"profiles":[{"name":"default","state":"up","agent_version":"0.19.0"}]}'
        self.is_mute = is_mute
        """Takes turns and never answers them."""
        self.is_absent = False
        """Takes connections, and that is all."""
        self._answer = answer
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Self]:
        """There in this block."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._over.set()
            await asyncio.gather(*self._tasks)
            await server.wait_closed()

    def refuses(self, head: bytes) -> bool:  # noqa: ARG002 - for peers that ask for a password
        """Whether this request is answered with a 401."""
        return False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # who asked has gone
            head = await reader.readuntil(b"\r\n\r\n")
            if self.is_absent:
                await self._over.wait()
            writer.write(await self._answered(head, reader))
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _answered(self, head: bytes, reader: asyncio.StreamReader) -> bytes:
        if self.refuses(head):
            return refusal(401, b"", b"WWW-Authenticate: Basic", b"Connection: close")
        if head.startswith(b"GET /-/profiles "):
            self.looks += 1
            return refusal(200, self.report, b"Connection: close")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
        self.turns += 1
        self.paths.append(head.split()[1].decode())
        if self.is_mute:
            await self._over.wait()
        return self._answer


def streaming(*frames: bytes) -> bytes:
    """A stream that ends cleanly, whatever its frames are."""
    pieces = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(pieces) + b"0\r\n\r\n"


def refusal(status: int, body: bytes, *headers: bytes) -> bytes:
    """A whole answer with a status of its own."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(body), body)


class Stage:
    """Peers are added first, then `start` brings the coordinator up. A context manager that ends everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        self.peers_file = folder / "peers.yaml"
        self.database_file = folder / "switchboard.db"
        self.url = ""
        self.key = ""
        self.client: httpx.AsyncClient
        self.proxies: dict[str, RunningProxy] = {}
        self.peers_named: dict[str, Any] = {}
        """What the peers file says of them."""
        self._stack = AsyncExitStack()
        self._coordinator = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.secrets.mkdir(mode=0o700)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._coordinator.aclose()
        await self._stack.aclose()

    async def machine(
        self,
        name: str,
        *,
        profiles: Sequence[str] = ("default",),
        capabilities: Sequence[str] = (),
        multiplex: bool = True,
        agent_turns: int = 10,
        proxy_key: str = AGENT_KEY,
        keep: int | None = None,
        proxy: Mapping[str, Any] | None = None,
        **entry: Any,
    ) -> MockAgent:
        """A mock agent behind a proxy with these settings; `proxy_key` is what it believes to be the agent's key."""
        agent = await self._stack.enter_async_context(
            MockAgent(
                name, key=AGENT_KEY, profiles=tuple(profiles), multiplex=multiplex, max_turns=agent_turns, keep=keep
            )
        )
        ports = agent.api_port, agent.dashboard_port
        port = await self.proxy(name, *ports, profiles=profiles, key=proxy_key, **(proxy or {}))
        self.peer(name, port, profiles={profile: {"capabilities": [*capabilities]} for profile in profiles}, **entry)
        return agent

    async def proxy(
        self,
        name: str,
        api_port: int,
        dashboard_port: int = 9,
        *,
        profiles: Sequence[str] = ("default",),
        key: str = AGENT_KEY,
        **more: Any,
    ) -> int:
        """A proxy before an agent that is at `api_port`, with more settings; gives its own port."""
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        private(folder / "proxy_password", PASSWORD)
        private(folder / "api_server_key", key)
        listener = listening()
        port: int = listener.getsockname()[1]
        settings = ProxySettings(
            listen_address=ip_address("127.0.0.1"),
            port=port,
            secrets_folder=folder,
            dashboard_port=dashboard_port,
            profiles={
                profile: Profile(port=api_port, prefix="" if profile == "default" else f"/p/{profile}")
                for profile in profiles
            },
            **more,
        )
        self.proxies[name] = await self._stack.enter_async_context(serving_proxy(settings, listener))
        return port

    async def odd(self, name: str, answer: bytes = b"", *, is_mute: bool = False, **entry: Any) -> OddPeer:
        """A peer that is none of ours."""
        odd = await self.join(OddPeer(answer, is_mute=is_mute))
        self.peer(name, odd.port, **entry)
        return odd

    async def join(self, odd: Odd) -> Odd:
        """Let it listen as long as the stage stands."""
        return await self._stack.enter_async_context(odd.listening())

    def peer(self, name: str, port: int, *, password: str = PASSWORD, **entry: Any) -> None:
        """Name a peer; `password` is what the coordinator believes to be its proxy's."""
        private(self.secrets / f"{name}_password", password)
        self.peers_named[name] = {"host": "127.0.0.1", "port": port, "password_file": f"{name}_password", **entry}

    async def start(self, *, watched: bool = True, **settings: Any) -> None:
        """Start the coordinator and wait until it has looked at every peer once; `settings` are an operator's."""
        self.peers_file.write_text(yaml.safe_dump({"peers": self.peers_named}, sort_keys=False))
        self.key = self.key or add_consumer(self.secrets / "consumers", "me")
        chosen = CoordinatorSettings(
            listen_address=ip_address("127.0.0.1"),
            peers_file=self.peers_file,
            secrets_folder=self.secrets,
            database_file=self.database_file,
            **settings,
        )
        app = create_app(chosen, read_peers(self.peers_file), read_consumers(chosen.consumers_file))
        self.url = await self._coordinator.enter_async_context(serving(app))
        self.client = await self._coordinator.enter_async_context(self.client_of(self.key))
        if watched:
            await until(self._has_looked, seconds=WAIT_SECONDS)

    async def stop(self) -> None:
        """End the coordinator."""
        await self._coordinator.aclose()

    async def restart(self, **settings: Any) -> None:
        """End the coordinator and start another one on the same files."""
        await self.stop()
        await self.start(**settings)

    def client_of(self, key: str) -> httpx.AsyncClient:
        """A client with this consumer's key."""
        headers = {"authorization": f"Bearer {key}"}
        return plain_client(base_url=self.url, headers=headers)

    async def _has_looked(self) -> bool:
        return all(peer["since"] for peer in (await self.peers()).values())

    async def was_looked_at(self, name: str) -> bool:
        """Whether the coordinator knows how this peer is."""
        return (await self.peers())[name]["since"] is not None

    async def peers(self) -> dict[str, Any]:
        """`GET /api/peers`, by name."""
        answer = await self.client.get("/api/peers")
        return {peer["name"]: peer for peer in answer.json()["peers"]}

    async def state(self, name: str) -> str:
        """How a peer was found last."""
        return str((await self.peers())[name]["state"])

    async def ask(self, model: str, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """One question whose answer comes whole."""
        return await self.client.post("/v1/chat/completions", json=question(model, text, **more), headers=headers)

    async def begin(self, to: str, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """`POST /api/turns`."""
        return await self.client.post("/api/turns", json={"to": to, "text": text, **more}, headers=headers)

    async def turn(self, turn_id: str) -> dict[str, Any]:
        """`GET /api/turns/{id}`."""
        answer = await self.client.get(f"/api/turns/{turn_id}")
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    async def ended(self, turn_id: str) -> dict[str, Any]:
        """The same, once it is over."""
        await until(lambda: self._is_over(turn_id), seconds=WAIT_SECONDS)
        return await self.turn(turn_id)

    async def _is_over(self, turn_id: str) -> bool:
        return (await self.turn(turn_id))["state"] in OVER

    async def events(self, turn_id: str, after: str = "0") -> list[dict[str, Any]]:
        """`GET /api/turns/{id}/events` from there to the end."""
        answer = await self.client.get(f"/api/turns/{turn_id}/events", params={"after": after})
        answer.raise_for_status()
        frames = [frame + b"\n\n" for frame in answer.content.split(b"\n\n")[:-1]]
        return Heard(answer.status_code, answer.headers, frames).chunks

    @asynccontextmanager
    async def stream(self, model: str, text: str, **more: Any) -> AsyncIterator[httpx.Response]:
        """One question whose answer streams."""
        body = question(model, text, stream=True, **more)
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            yield answer

    async def hear(self, model: str, text: str, **more: Any) -> Heard:
        """A whole stream."""
        async with self.stream(model, text, **more) as answer:
            return await heard(answer)


def plain_client(**arguments: Any) -> httpx.AsyncClient:
    """A client for plain http."""
    return httpx.AsyncClient(verify=_NO_CERTIFICATES, timeout=WAIT_SECONDS, trust_env=False, **arguments)


async def heard(answer: httpx.Response) -> Heard:
    """What is left of a stream, frame by frame."""
    data = await answer.aread()
    frames = [frame + b"\n\n" for frame in data.split(b"\n\n")[:-1]]
    return Heard(answer.status_code, answer.headers, frames)


def question(model: str, text: str, **more: Any) -> dict[str, Any]:
    """The body of one chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def private(file: Path, text: str) -> Path:
    """A file that nobody else may read."""
    file.touch(mode=0o600)
    file.write_text(text)
    return file
