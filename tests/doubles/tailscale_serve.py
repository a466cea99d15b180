"""What Tailscale Serve is for a proxy on loopback: HTTPS before it, and a header with who calls."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trustme
from switchboard_relay import pool

from .upstream import LOOPBACK, Script, Upstream, Visit

NAME = "localhost"
CALLER = "100.64.0.9"


class Authority:
    """Whoever signs certificates. It is trusted once `trusted` says so."""

    def __init__(self) -> None:
        self._signs = trustme.CA()

    def certificate(self, name: str = NAME) -> ssl.SSLContext:
        """For a server of this name."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._signs.issue_cert(name).configure_cert(context)
        return context

    def trusted(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        """From now on, until the end of the test."""
        file = folder / "authority.pem"
        self._signs.cert_pem.write_to_path(str(file))
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        monkeypatch.setattr(pool, "_trust", pool._trust.__wrapped__)


@asynccontextmanager
async def serve(port: int, certificate: ssl.SSLContext, *, at: int) -> AsyncIterator[None]:
    """HTTPS at this port of loopback, before what listens there at `port`."""
    async with Upstream(_passing_on(port), tls=certificate, port=at):
        yield


def _passing_on(port: int) -> Script:
    async def script(visit: Visit) -> None:
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        answering = asyncio.create_task(_answers(reader, visit))
        try:
            while True:
                line, rest = (await visit.request()).split(b"\r\n", 1)
                writer.write(b"%b\r\nX-Forwarded-For: %b\r\n%b" % (line, CALLER.encode(), rest))
        finally:
            answering.cancel()
            writer.close()

    return script


async def _answers(reader: asyncio.StreamReader, visit: Visit) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            await visit.send(data)
        visit.end()
