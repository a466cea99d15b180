"""The stand-in for tailscaled's LocalAPI says what the real one says, and frames it as Go does."""

import asyncio
import json
from pathlib import Path

import pytest
from doubles.local_api import local_api, node

WHOIS = "GET /localapi/v0/whois"
HOST = "Host: local-tailscaled.sock\r\n"


async def said(socket: Path, request: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket)
    try:
        async with asyncio.timeout(10):
            writer.write(request.encode())
            if "HTTP/1.0" in request:
                return await reader.read()
            head = await reader.readuntil(b"\r\n\r\n")
            if b"chunked" in head:
                return head + await reader.readuntil(b"\r\n0\r\n\r\n")
            return head + await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_line", "headers", "status", "body"),
    [
        (f"{WHOIS}?addr=100.64.0.7%3A0", "", 404, b"no match for IP:port\n"),
        (f"{WHOIS}?addr=100.64.0.7%3A0", "Host: evil.example\r\n", 403, b"invalid localapi request\n"),
        (f"{WHOIS}?addr=100.64.0.7%3A0", HOST + "Origin: null\r\n", 403, b"invalid localapi request\n"),
        (f"{WHOIS}?addr=nonsense", HOST, 400, b"invalid 'addr' parameter\n"),
        (WHOIS, HOST, 400, b"missing 'addr' parameter\n"),
        ("GET /localapi/v0/nothing", HOST, 404, b"404 page not found\n"),
    ],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_what_it_refuses(
    request_line: str, headers: str, status: int, body: bytes, version: str, tmp_path: Path
) -> None:
    async with local_api(tmp_path / "sock"):
        answer = await said(tmp_path / "sock", f"{request_line} HTTP/{version}\r\n{headers}\r\n")
    assert answer.startswith(f"HTTP/{version} {status} ".encode())
    assert answer.endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize("name", ["nas", "n" * 2000])
async def test_an_answer_is_framed_for_who_asks(name: str, tmp_path: Path) -> None:
    async with local_api(tmp_path / "sock") as api:
        api.answers["fd7a:115c:a1e0::9"] = node(name)
        old, new = [
            await said(
                tmp_path / "sock", f"{WHOIS}?addr=%5Bfd7a%3A115c%3Aa1e0%3A%3A9%5D%3A0 HTTP/{version}\r\n{HOST}\r\n"
            )
            for version in ("1.0", "1.1")
        ]
    assert json.loads(old.partition(b"\r\n\r\n")[2]) == node(name)
    assert b"chunked" not in old
    assert (b"chunked" in new) is (len(old) > 2500)
    assert len(api.questions) == 2
