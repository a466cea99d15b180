"""An exchange over TLS: who is believed to be the upstream, and what is said where nobody is."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from doubles.tailscale_serve import NAME, Authority
from doubles.upstream import LOOPBACK, Upstream, Visit, saying
from switchboard_relay import AnswerBroken, ConnectFailed, Pool, Request
from waiting import until

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GET = Request(b"GET", b"/", ((b"host", b"upstream"),))
POST = Request(b"POST", b"/", ((b"host", b"upstream"), (b"content-length", b"4")), b"body")


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Authority:
    """One that this machine trusts."""
    authority = Authority()
    authority.trusted(monkeypatch, tmp_path)
    return authority


async def ask(connections: Pool, request: Request = GET) -> bytes:
    async with connections.exchange(request) as answer:
        return await answer.read()


def pool_of(upstream: Upstream, host: str = NAME) -> Pool:
    return Pool(host, upstream.port, is_tls=True)


async def test_an_exchange_is_what_it_is_without_and_its_connection_is_kept(authority: Authority) -> None:
    async with Upstream(saying(OK), tls=authority.certificate()) as upstream:
        connections = pool_of(upstream)
        assert [await ask(connections, request) for request in (GET, POST, GET)] == [b"ok"] * 3
        assert (len(upstream.visits), len(upstream.requests)) == (1, 3)
        connections.close()


async def test_a_long_answer_that_is_read_slowly_comes_whole(authority: Authority) -> None:
    body = bytes(range(256)) * 8192
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    async with Upstream(saying(answer), tls=authority.certificate()) as upstream:
        assert await ask(pool_of(upstream)) == body


async def test_leaving_an_answer_closes_the_connection(authority: Authority) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")

    async with Upstream(script, tls=authority.certificate()) as upstream:
        async with pool_of(upstream).exchange(GET) as answer:
            assert await anext(answer) == b"half"
        await until(lambda: upstream.visits[0].left.is_set(), seconds=10)


async def test_an_answer_that_is_cut_is_broken(authority: Authority) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        visit.abort()

    async with Upstream(script, tls=authority.certificate()) as upstream:
        with pytest.raises(AnswerBroken):
            await ask(pool_of(upstream))


async def refused(upstream: Upstream, host: str = NAME) -> str:
    """Why no connection comes about; nothing of a request was sent."""
    with pytest.raises(ConnectFailed) as caught:
        await ask(pool_of(upstream, host), POST)
    assert upstream.requests == []
    return str(caught.value)


async def test_a_certificate_for_another_name_is_not_accepted(authority: Authority) -> None:
    async with Upstream(saying(OK), tls=authority.certificate("nas.example")) as upstream:
        assert "its certificate is not accepted: Hostname mismatch" in await refused(upstream)


async def test_a_certificate_for_a_name_is_none_for_the_address(authority: Authority) -> None:
    async with Upstream(saying(OK), tls=authority.certificate()) as upstream:
        assert "its certificate is not accepted: IP address mismatch" in await refused(upstream, LOOPBACK)


@pytest.mark.usefixtures("authority")
async def test_a_certificate_of_an_authority_that_nobody_knows_is_not_accepted() -> None:
    async with Upstream(saying(OK), tls=Authority().certificate()) as upstream:
        assert "its certificate is not accepted: unable to get local issuer certificate" in await refused(upstream)


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda visit: visit.send(b"HTTP/1.0 400 Bad Request\r\n\r\n"), "it does not speak TLS as it should"),
        (lambda visit: visit.end(), "it closed the connection before TLS was agreed on"),
    ],
)
async def test_what_speaks_no_tls_is_told_so(answer: Callable[[Visit], object], words: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.some()
        if (sending := answer(visit)) is not None:
            await sending  # type: ignore[misc]

    async with Upstream(script) as upstream:
        assert words in await refused(upstream)


async def test_a_port_where_nobody_listens_is_refused_as_without() -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectFailed, match="refused"):
        await ask(Pool(NAME, port, is_tls=True))
