"""Where a service may listen, and what is set on its socket."""

import asyncio
import socket
from ipaddress import ip_address

import pytest
from structlog.testing import capture_logs
from switchboard_service import listen
from switchboard_service.listen import AddressMissing, ListenError, UntrustedAddress, check_address, open_listener


@pytest.mark.parametrize(
    "address", ["100.64.0.1", "100.127.255.254", "fd7a:115c:a1e0::1", "127.0.0.1", "127.9.9.9", "::1"]
)
def test_the_tailnet_and_loopback_are_trusted(address: str) -> None:
    check_address(ip_address(address), False, "X_ADDRESS")


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "::", "192.168.1.2", "10.0.0.1", "100.63.255.255", "100.128.0.0", "203.0.113.7", "fd7a:115c:a1e1::1"],
)
def test_every_other_address_is_refused_in_one_sentence_unless_it_is_allowed(address: str) -> None:
    with pytest.raises(UntrustedAddress, match=f"^X_ADDRESS is {address}, which others than the tailnet") as refused:
        check_address(ip_address(address), False, "X_ADDRESS")
    assert "\n" not in str(refused.value)
    check_address(ip_address(address), True, "X_ADDRESS")


def test_what_is_accepted_notices_a_vanished_machine_within_thirty_seconds() -> None:
    listener = open_listener(ip_address("127.0.0.1"), 0)
    with listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
            idle, interval, count = (accepted.getsockopt(socket.IPPROTO_TCP, option) for option in (4, 5, 6))
            assert idle + interval * count <= 30


def test_a_port_that_is_taken_and_an_address_of_another_machine_are_told_apart() -> None:
    listener = open_listener(ip_address("127.0.0.1"), 0)
    with listener, pytest.raises(ListenError, match="is taken: stop what listens there"):
        open_listener(ip_address("127.0.0.1"), listener.getsockname()[1])
    with pytest.raises(ListenError, match="is not an address of this machine"):
        open_listener(ip_address("203.0.113.7"), 9121)


def test_other_reasons_are_told_in_the_systems_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        raise error

    monkeypatch.setattr(socket.socket, "bind", bind)
    error = OSError(13, "Permission denied")
    with pytest.raises(ListenError, match="choose one above 1023"):
        open_listener(ip_address("127.0.0.1"), 80)
    error = OSError(105, "No buffer space available")
    with pytest.raises(ListenError, match="port 80: No buffer space"):
        open_listener(ip_address("127.0.0.1"), 80)


def test_a_socket_of_the_sixth_version_listens_too() -> None:
    with open_listener(ip_address("::1"), 0) as listener:
        assert listener.family == socket.AF_INET6


async def test_it_waits_for_an_address_that_is_not_there_yet_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, opened = [], socket.socket()

    def open_in_the_end(address: object, port: int) -> socket.socket:
        tried.append(address)
        if len(tried) < 4:
            raise AddressMissing("not yet")
        return opened

    monkeypatch.setattr(listen, "open_listener", open_in_the_end)
    monkeypatch.setattr(listen, "RETRY_SECONDS", 0.01)
    with opened, capture_logs() as told:
        assert await listen.open_when_there(ip_address("100.64.0.9"), 9121) is opened
    assert [line["event"] for line in told] == ["waits_for_address"]


async def test_it_does_not_wait_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(address: object, port: int) -> socket.socket:
        raise AddressMissing("not here")

    monkeypatch.setattr(listen, "open_listener", missing)
    for address in ("127.0.0.1", "::1"):
        async with asyncio.timeout(5):
            with capture_logs() as told, pytest.raises(AddressMissing):
                await listen.open_when_there(ip_address(address), 9121)
        assert not told


def test_a_machine_without_this_version_of_ip_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", unknown)
    with pytest.raises(ListenError, match="cannot listen on ::1 port 9121: Address family not supported"):
        open_listener(ip_address("::1"), 9121)


async def test_it_does_not_wait_for_a_port_that_is_taken() -> None:
    with open_listener(ip_address("127.0.0.1"), 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ListenError, match="is taken"):
            await listen.open_when_there(ip_address("127.0.0.1"), port)
