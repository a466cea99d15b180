"""What the harness is made of: what should come out, what stands behind the proxy, and what belongs to no case."""

import socket
from collections.abc import AsyncIterator
from itertools import permutations

import pytest
from doubles.raw_client import RawClient
from waiting import until

from .careless_proxy import careless_proxy
from .corpus import GET, SIZED
from .experiment import Case
from .passage import CREDENTIAL, Passage, Proxy
from .stage import proxy_process
from .strict_reader import read
from .witness import Half, Witnesses, witnesses

SECONDS = 5.0
PROXY = Proxy(9121)
OWN = b"Host: " + PROXY.host + b"\r\nAuthorization: " + CREDENTIAL + b"\r\n"


def passage(target: bytes, lines: bytes = OWN) -> Passage | None:
    return PROXY.passage(read(b"GET " + target + b" HTTP/1.1\r\n" + lines + b"\r\n").requests[0])


@pytest.mark.parametrize(
    ("target", "side", "comes_out"),
    [
        (b"/v1/models?a=b", "agent", b"/v1/models?a=b"),
        (b"/%761/models", "agent", b"/%761/models"),
        (b"/p/default/v1/runs", "agent", b"/v1/runs"),
        (b"/agent/api/jobs?a=//..", "agent", b"/api/jobs?a=//.."),
        (b"/webui/", "webui", b"/"),
        (b"/v1", "dashboard", b"/v1"),
        (b"/a%20b/", "dashboard", b"/a%20b/"),
        (b"/?", "dashboard", b"/?"),
    ],
)
def test_a_path_leads_to_one_side(target: bytes, side: str, comes_out: bytes) -> None:
    assert passage(target) == Passage(side, b"GET", comes_out, b"")


@pytest.mark.parametrize(
    "target",
    [
        *(b"//", b"/a//b", b"/.", b"/a/..", b"/a/../b", b"/%2e%2e/a", b"/a%2fb", b"/a%5Cb", b"/a\\b", b"/a%00", b"/a%"),
        *(b"/-/ready", b"/agent/p/default/v1/runs", b"/p/work/v1/runs"),
    ],
)
def test_nothing_comes_out_where_a_path_has_two_readings_or_leads_nowhere(target: bytes) -> None:
    assert passage(target) is None


@pytest.mark.parametrize(
    "lines",
    [
        OWN.replace(CREDENTIAL, b"Basic x"),
        OWN.replace(PROXY.host, b"evil.example"),
        OWN + b"Authorization: " + CREDENTIAL + b"\r\n",
        OWN + b"Origin: http://evil.example\r\n",
    ],
)
def test_nothing_comes_out_of_what_may_not_pass(lines: bytes) -> None:
    assert passage(b"/v1/models", lines) is None
    assert passage(b"/v1/models", OWN + b"Origin: http://" + PROXY.host + b"\r\n") is not None


@pytest.fixture
async def behind() -> AsyncIterator[Witnesses]:
    async with witnesses() as there:
        yield there


async def test_a_witness_keeps_whole_requests_halves_and_the_count_of_bytes(behind: Witnesses) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n"
    async with RawClient(behind.ports["webui"]) as client:
        client.send(head + b"x")
        client.send(b"y" + head + b"z")
        assert (await client.reply())["x-seen"] == "0"
        await until(lambda: bool(behind.under_way), seconds=SECONDS)
    await until(lambda: not behind.under_way, seconds=SECONDS)
    whole = read(head + b"xy").requests[0]
    assert behind.seen == [Passage("webui", b"POST", b"/a", b"xy")]
    assert behind.halves == [Half("webui", read(head + b"z").begun, head + b"z")]
    assert behind.received_bytes == 2 * len(head) + 3
    assert (whole.body, behind.unread) == (b"xy", [])


async def test_a_witness_tells_what_it_would_refuse(behind: Witnesses) -> None:
    async with RawClient(behind.ports["agent"]) as client:
        client.send(b"GET /a HTTP/1.1\r\nHost: b\r\nContent-Length: +1\r\n\r\n")
        assert await client.rest() == b""
    assert len(behind.unread) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe",
        b"GET",
    ],
)
async def test_what_comes_out_and_is_no_cases_own_is_found(data: bytes) -> None:
    def asking_too(came: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", experiment.witnesses.ports["agent"])) as line:
            line.sendall(data)
        return came

    async with careless_proxy(asking_too) as experiment:
        found = await experiment.run([Case("good", (GET.encode(),)), Case("good too", (SIZED.encode(),))])
    assert found
    assert all(not finding.is_silence for finding in found)


async def test_halves_are_told_apart_by_how_much_came_of_them() -> None:
    head = GET.replace("GET", "POST").removesuffix("\r\n").encode() + b"Transfer-Encoding: chunked\r\n\r\n"
    cases = [Case("long", (head + b"5\r\nhello\r\n",)), Case("empty", (head,)), Case("short", (head + b"5\r\nhe",))]
    async with proxy_process() as experiment:
        for order in permutations(cases):
            assert await experiment.run(order) == []
