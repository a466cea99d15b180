"""A stand-in for the LocalAPI of a tailscaled: answers `whois` on a unix socket.

Status codes, texts and the checks before them are those of tailscale's ipn/localapi/localapi.go, fields those of
tailcfg.Node, framing that of Go's net/http: written from the source, not recorded from a running tailscaled.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answers = dict[str, dict[str, Any]]


def node(
    name: str, *, login: str | None = "ann@example.com", tags: tuple[str, ...] = (), **fields: Any
) -> dict[str, Any]:
    """An answer of the shape that tailscaled gives for a node of its own tailnet; `fields` go into its Node."""
    shown: dict[str, Any] = {
        "ID": 3394226186372531,
        "StableID": "nV6M3oJKo721CNTRL",
        "Name": f"{name}.tail1234.ts.net.",
        "User": 131792011117475,
        "Key": "nodekey:" + "0" * 64,
        "KeyExpiry": "2027-03-01T10:00:00Z",
        "Machine": "mkey:" + "0" * 64,
        "DiscoKey": "discokey:" + "0" * 64,
        "Addresses": ["100.64.0.9/32", "fd7a:115c:a1e0::9/128"],
        "AllowedIPs": ["100.64.0.9/32", "fd7a:115c:a1e0::9/128"],
        "Endpoints": ["203.0.113.7:41641"],
        "HomeDERP": 4,
        "Hostinfo": {"OS": "linux", "Hostname": name, "Services": [{"Proto": "peerapi4", "Port": 40000}]},
        "Created": "2026-01-01T00:00:00Z",
        "Cap": 130,
        "Online": True,
        "ComputedName": name,
        "ComputedNameWithHost": name,
    }
    if tags:
        shown["Tags"] = [*tags]
    profile = {
        "ID": 131792011117475,
        "LoginName": "tagged-devices" if tags else login,
        "DisplayName": "Tagged Devices" if tags else "Ann",
    }
    return {
        "Node": shown | fields,
        "UserProfile": profile,
        "CapMap": {"https://tailscale.com/cap/file-sharing-send": None},
    }


class LocalApi:
    """`answers` by IP address; `questions` are the heads as they came. `script`, when set, speaks instead."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        self.questions: list[str] = []
        self.script: Callable[[asyncio.StreamWriter], Awaitable[None]] | None = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("ascii")
                self.questions.append(head)
                if self.script is not None:
                    await self.script(writer)
                    return
                is_old = head.partition("\r\n")[0].endswith(" HTTP/1.0")
                writer.write(_framed(*self._answer(head), is_old=is_old))
                if is_old:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, head: str) -> tuple[int, str]:
        line, *rest = head.split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (entry.partition(":") for entry in rest)}
        if {"origin", "referer"} & headers.keys() or headers.get("host", "") not in ("", "local-tailscaled.sock"):
            return 403, "invalid localapi request\n"
        target = urlsplit(line.split(" ")[1])
        if target.path != "/localapi/v0/whois":
            return 404, "404 page not found\n"
        asked = parse_qs(target.query).get("addr", [""])[0]
        if not asked:
            return 400, "missing 'addr' parameter\n"
        host, _, port = asked.rpartition(":")
        try:
            address = str(ip_address(host.removeprefix("[").removesuffix("]")))
            int(port)
        except ValueError:
            return 400, "invalid 'addr' parameter\n"
        if address not in self.answers:
            return 404, "no match for IP:port\n"
        return 200, json.dumps(self.answers[address], indent="\t")


def _framed(status: int, body: str, *, is_old: bool) -> bytes:
    """A short body goes with its length, a long one in chunks; to HTTP/1.0 it goes as it is, until the end."""
    lines = [
        f"HTTP/1.{0 if is_old else 1} {status} {HTTPStatus(status).phrase}",
        f"Content-Type: {'application/json' if status == 200 else 'text/plain; charset=utf-8'}",
        "Tailscale-Version: 1.94.2",
        "X-Content-Type-Options: nosniff",
    ]
    data = body.encode()
    if len(data) <= 2048:
        lines.append(f"Content-Length: {len(data)}")
    elif not is_old:
        lines.append("Transfer-Encoding: chunked")
        data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    return "\r\n".join([*lines, "", ""]).encode("ascii") + data


@asynccontextmanager
async def local_api(socket: Path) -> AsyncIterator[LocalApi]:
    """A LocalAPI at this path until the block ends."""
    api = LocalApi()
    server = await asyncio.start_unix_server(api._serve, socket)
    try:
        yield api
    finally:
        server.close()
