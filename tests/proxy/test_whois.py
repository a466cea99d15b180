"""Who calls is asked of the local tailscaled, once for all that ask together; without an answer nobody passes."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from doubles.local_api import LocalApi, local_api, node
from switchboard_proxy import whois
from switchboard_proxy.whois import Caller, Whois, WhoisUnavailable, is_allowed
from waiting import until

NAS = "100.64.0.9"


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    return tmp_path / "tailscaled.sock"


@pytest.fixture
async def api(socket: Path) -> AsyncIterator[LocalApi]:
    async with local_api(socket) as running:
        yield running


async def test_a_node_is_told_by_its_name_and_its_user(api: LocalApi, socket: Path) -> None:
    api.answers[NAS] = node("NAS")
    assert await Whois(socket).ask(NAS) == Caller("nas.tail1234.ts.net", "nas", (), "ann@example.com")


async def test_a_tagged_node_belongs_to_no_user(api: LocalApi, socket: Path) -> None:
    api.answers[NAS] = node("hub", tags=("tag:coordinator", "tag:prod"))
    caller = await Whois(socket).ask(NAS)
    assert caller == Caller("hub.tail1234.ts.net", "hub", ("tag:coordinator", "tag:prod"), None)


async def test_an_address_without_a_node_is_told_as_nobody(api: LocalApi, socket: Path) -> None:
    assert await Whois(socket).ask("192.0.2.1") is None
    assert not is_allowed(None, ["nas"])


@pytest.mark.parametrize("address", ["", "nas", "100.64.0.9:80", "100.64.0.9 ", "fe80::1%eth0", "100.64.0.9\r\nX: y"])
async def test_what_is_no_address_of_a_node_is_nobody_and_is_not_asked(
    address: str, api: LocalApi, socket: Path
) -> None:
    assert await Whois(socket).ask(address) is None
    assert api.questions == []


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("100.64.0.9", "100.64.0.9%3A0"),
        ("fd7a:115c:a1e0::9", "%5Bfd7a%3A115c%3Aa1e0%3A%3A9%5D%3A0"),
        ("::ffff:100.64.0.9", "100.64.0.9%3A0"),
    ],
)
async def test_the_question_is_as_tailscaled_wants_it(address: str, asked: str, api: LocalApi, socket: Path) -> None:
    api.answers[NAS] = api.answers["fd7a:115c:a1e0::9"] = node("nas")
    assert await Whois(socket).ask(address)
    assert api.questions == [f"GET /localapi/v0/whois?addr={asked} HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n"]


SHAREE: dict[str, Any] = {"Hostinfo": {"Hostname": "device-of-shared-to-user", "ShareeNode": True}}


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        # Shared into the tailnet: tailscaled computes the whole name.
        (node("hub", Name="hub.other.ts.net.", ComputedName="hub.other.ts.net", Sharer=7), ["hub.other.ts.net"]),
        (node("hub", tags=("tag:hub",), Name="hub.other.ts.net.", ComputedName="hub", Sharer=7), ["hub.other.ts.net"]),
        # Of somebody that this machine is shared with.
        (node("hub", tags=("tag:hub",), Name="", ComputedName="device-of-shared-to-user", **SHAREE), []),
        (node("hub", tags=("tag:hub",), **SHAREE), ["hub.tail1234.ts.net"]),
        # Without MagicDNS: the computed name is what the node calls itself.
        (node("x", Name="", ComputedName="hub"), []),
        (node("x", ComputedName="hub"), ["x.tail1234.ts.net"]),
        (node("hub-2", ComputedName="hub"), ["hub-2.tail1234.ts.net"]),
    ],
)
async def test_a_name_or_tag_that_others_may_have_chosen_does_not_count(
    answer: dict[str, Any], allowed: list[str], api: LocalApi, socket: Path
) -> None:
    api.answers[NAS] = answer
    caller = await Whois(socket).ask(NAS)
    names = ["hub", "x", "tag:hub", "device-of-shared-to-user", "", "hub.tail1234.ts.net", "hub.other.ts.net"]
    names += ["x.tail1234.ts.net", "hub-2.tail1234.ts.net", "."]
    assert [name for name in names if is_allowed(caller, [name])] == allowed


@pytest.mark.parametrize("entry", ["nas", "NAS", "nas.tail1234.ts.net", "nas.Tail1234.ts.net.", "tag:prod"])
def test_a_node_is_allowed_by_its_short_name_its_whole_name_or_a_tag(entry: str) -> None:
    assert is_allowed(Caller("nas.tail1234.ts.net", "nas", ("tag:prod",)), ["laptop", entry])


@pytest.mark.parametrize(
    "entry", ["na", "nas.tail1234", "nas.other.ts.net", "prod", "tag:pro", "tag:PROD", "ann@example.com"]
)
def test_nothing_else_allows_it(entry: str) -> None:
    assert not is_allowed(Caller("nas.tail1234.ts.net", "nas", ("tag:prod",), "ann@example.com"), [entry])
    assert not is_allowed(Caller("nas.tail1234.ts.net", "nas", ("tag:prod",)), [])


async def test_an_answer_is_believed_for_a_while_and_nobody_too(api: LocalApi, socket: Path) -> None:
    api.answers[NAS] = node("nas")
    asker = Whois(socket)
    for _ in range(3):
        assert await asker.ask(NAS)
        assert await asker.ask("192.0.2.1") is None
    assert len(api.questions) == 2
    assert whois.BELIEVED_SECONDS == 30


async def test_then_it_is_asked_again(api: LocalApi, socket: Path) -> None:
    api.answers[NAS] = node("nas")
    asker = Whois(socket, believed_seconds=0.05)
    assert await asker.ask(NAS)
    del api.answers[NAS]

    async def is_gone() -> bool:
        return await asker.ask(NAS) is None

    await until(is_gone, seconds=10)


async def test_those_who_ask_together_share_one_question(api: LocalApi, socket: Path) -> None:
    api.answers[NAS] = node("nas")
    asker = Whois(socket)
    callers = await asyncio.gather(*(asker.ask(NAS) for _ in range(50)))
    assert len(api.questions) == 1
    assert {caller.short_name for caller in callers if caller} == {"nas"}


async def test_who_asked_first_may_leave_first(api: LocalApi, socket: Path) -> None:
    may_answer = asyncio.Event()

    async def waiting(writer: asyncio.StreamWriter) -> None:
        await may_answer.wait()
        writer.write(b"HTTP/1.0 404 Not Found\r\n\r\nno match for IP:port\n")

    api.script = waiting
    asker = Whois(socket, answer_seconds=30)
    first = asyncio.create_task(asker.ask(NAS))
    await until(lambda: bool(api.questions), seconds=10)
    second = asyncio.create_task(asker.ask(NAS))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    may_answer.set()
    async with asyncio.timeout(10):
        assert await second is None
    assert len(api.questions) == 1


def says(*pieces: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def script(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


async def test_an_error_that_nobody_waits_for_any_more_is_not_reported(api: LocalApi, socket: Path) -> None:
    api.script = says()
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    asker = Whois(socket)
    asking = asyncio.create_task(asker.ask(NAS))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    assert asking.cancelled()
    del asking  # its traceback holds the question
    await until(lambda: not asker._asking, seconds=10)
    gc.collect()
    assert reported == []


async def test_the_table_of_answers_does_not_grow(api: LocalApi, socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whois, "ADDRESSES", 4)
    asker = Whois(socket)
    for number in range(10):
        await asker.ask(f"192.0.2.{number}")
        await asker.ask("192.0.2.0")  # asked for again and again: it stays
    assert len(asker._answers) == 4
    assert len(api.questions) == 10


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [b"tailscaled\n"],
        [b"HTTP/1.0 404 Not Found\r\n"],
        [b"HTTP/1.0 200 OK\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\n\r\n{}"],
        [b'HTTP/1.0 200 OK\r\n\r\n{"Node": null, "UserProfile": null}'],
        [b'HTTP/1.0 200 OK\r\n\r\n{"Node": {"Name": "nas.'],
        [b"HTTP/1.0 403 Forbidden\r\n\r\nwhois access denied\n"],
        [b"HTTP/1.0 500 Nope\r\n\r\n"],
        [b"SSH-2.0-404 \r\n\r\n"],
        [b"\xff" * 100 + b"\r\n\r\n"],
        [b"HTTP/1.0 \xff\xff\xff\r\n\r\n"],
        [b"HTTP/1.0 200 OK\r\n\r\n", *[b" " * 65536] * 40, json.dumps(node("nas")).encode()],
    ],
)
async def test_what_is_no_answer_lets_nobody_pass(pieces: list[bytes], api: LocalApi, socket: Path) -> None:
    api.script = says(*pieces)
    asker = Whois(socket)
    for _ in range(2):  # and is not believed
        with pytest.raises(WhoisUnavailable, match="tailscaled"):
            await asker.ask(NAS)
    api.script = None
    api.answers[NAS] = node("nas")
    assert await asker.ask(NAS)


async def test_a_tailscaled_that_is_silent_is_waited_for_two_seconds_at_most(api: LocalApi, socket: Path) -> None:
    async def silent(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    api.script = silent
    asker = Whois(socket, answer_seconds=0.05)
    asked = await asyncio.gather(*(asker.ask(NAS) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in asked] == [WhoisUnavailable] * 5
    assert len(api.questions) == 1
    assert whois.ANSWER_SECONDS == 2


async def test_a_tailscaled_that_is_not_there_lets_nobody_pass(socket: Path, tmp_path: Path) -> None:
    with pytest.raises(WhoisUnavailable, match="No such file"):
        await Whois(socket).ask(NAS)
    for no_socket in (tmp_path, tmp_path / ("x" * 200)):
        with pytest.raises(WhoisUnavailable, match=r"cannot be asked who calls: (?!None)"):
            await Whois(no_socket).ask(NAS)
