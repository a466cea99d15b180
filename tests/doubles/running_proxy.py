"""The real proxy on a loopback port."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from doubles.proxy_log import Log
from doubles.raw_client import RawClient, Reply, basic
from doubles.serving import listening
from switchboard_proxy.app import Proxy
from switchboard_proxy.settings import Profile, ProxySettings
from switchboard_relay import Limits, Server

PASSWORD = "0123456789abcdef0123456789abcdef"
KEY = "api-server-key-of-the-tests"
BASIC = basic("coordinator", PASSWORD)


def write_secret(path: Path, value: str, mode: int = 0o400) -> None:
    """A secret file as the proxy wants it."""
    path.write_text(value + "\n")
    path.chmod(mode)


class RunningDoor:
    """A proxy that answers at `port`. `ask` sends one request with the right credential on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"

    def connect(self) -> RawClient:
        """A connection to be used as `async with`."""
        return RawClient(self.port)

    def head(self, method: str, target: str, *headers: str, host: bool = True, credential: str | None = BASIC) -> bytes:
        """A request's head."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"Host: {self.host}"] * host
        lines += [f"Authorization: {credential}"] if credential is not None else []
        return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1")

    async def ask(
        self, method: str, target: str, *headers: str, body: bytes | None = None, credential: str | None = BASIC
    ) -> Reply:
        """One request and its whole answer; a body goes with its length."""
        framing = () if body is None else (f"Content-Length: {len(body)}",)
        async with self.connect() as client:
            client.send(self.head(method, target, *framing, *headers, credential=credential) + (body or b""))
            return await client.reply(method)

    async def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return (await self.ask("GET", "/-/ready")).status == 200
        except OSError:
            return False


class RunningProxy(RunningDoor):
    """A proxy in the event loop of the test; `log` has its request lines."""

    def __init__(self, port: int, app: Proxy, server: Server, log: Log) -> None:
        super().__init__(port)
        self.app = app
        self.server = server
        self.log = log


@asynccontextmanager
async def serving_proxy(
    settings: ProxySettings, listener: socket.socket, limits: Limits | None = None
) -> AsyncIterator[RunningProxy]:
    """The proxy of these settings on this socket, until the block ends."""
    log = Log()
    app = Proxy(settings, log)
    server = Server(app, limits)
    await server.listen(listener)
    try:
        yield RunningProxy(settings.port, app, server, log)
    finally:
        await server.drain(0.0)
        app.close()


@asynccontextmanager
async def running_proxy(
    secrets_folder: Path,
    profiles: dict[str, Profile],
    dashboard_port: int,
    limits: Limits | None = None,
    **settings: Any,
) -> AsyncIterator[RunningProxy]:
    """A proxy on a free port of loopback, until the block ends; secrets that are not there are written."""
    listener = listening()
    port: int = listener.getsockname()[1]
    write_secret(secrets_folder / "proxy_password", PASSWORD)
    for name, profile in profiles.items():
        if not (secrets_folder / profile.key_file).exists():
            write_secret(secrets_folder / profile.key_file, KEY if name == "default" else f"{KEY}-{name}")
    told = ProxySettings(
        listen_address=ip_address("127.0.0.1"),
        port=port,
        secrets_folder=secrets_folder,
        profiles=profiles,
        dashboard_port=dashboard_port,
        **settings,
    )
    async with serving_proxy(told, listener, limits) as running:
        yield running
