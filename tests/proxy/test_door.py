"""Who may pass: the credential first, then Host, then Origin."""

import base64
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from switchboard_proxy.door import Door, WrongCredential
from switchboard_proxy.errors import HostRefused, OriginRefused, Unauthorized
from switchboard_relay import Headers

PASSWORD = "0123456789abcdef0123456789abcdef"
HOST = (b"host", b"100.64.0.9:9121")
NOW = 1_795_394_476.0
REFUSED = (Unauthorized, WrongCredential)


def basic(pair: str, scheme: bytes = b"Basic") -> tuple[bytes, bytes]:
    return b"authorization", scheme + b" " + base64.b64encode(pair.encode())


RIGHT = basic(f"coordinator:{PASSWORD}")


def door(*names: str, port: int = 9121) -> Door:
    return Door("coordinator", [PASSWORD], address=(names or ("100.64.0.9",))[0], names=names[1:], port=port)


def test_the_right_pair_passes() -> None:
    door().admit([HOST, RIGHT], now=NOW)


@pytest.mark.parametrize("scheme", [b"basic", b"BASIC", b"bAsIc"])
def test_the_scheme_is_read_in_any_case(scheme: bytes) -> None:
    door().admit([HOST, basic(f"coordinator:{PASSWORD}", scheme)], now=NOW)


WRONG: dict[str, Headers] = {
    "none": [],
    "empty": [(b"authorization", b"")],
    "wrong user": [basic(f"admin:{PASSWORD}")],
    "user in capitals": [basic(f"Coordinator:{PASSWORD}")],
    "wrong password": [basic("coordinator:fedcba9876543210fedcba9876543210")],
    "a beginning of the password": [basic(f"coordinator:{PASSWORD[:-1]}")],
    "more than the password": [basic(f"coordinator:{PASSWORD}x")],
    "no colon": [basic(f"coordinator{PASSWORD}")],
    "no user": [basic(f":{PASSWORD}")],
    "no password": [basic("coordinator:")],
    "a colon elsewhere": [basic(f"coordinato:r{PASSWORD}")],
    "Bearer": [(b"authorization", b"Bearer " + PASSWORD.encode())],
    "the pair as Bearer": [basic(f"coordinator:{PASSWORD}", b"Bearer")],
    "Digest": [(b"authorization", b'Digest username="coordinator"')],
    "no scheme": [(b"authorization", base64.b64encode(f"coordinator:{PASSWORD}".encode()))],
    "scheme alone": [(b"authorization", b"Basic")],
    "scheme and blank": [(b"authorization", b"Basic ")],
    "not base64": [(b"authorization", b"Basic !!!!")],
    "base64 with a stranger inside": [(b"authorization", RIGHT[1].replace(b"Y", b"Y\x0b", 1))],
    "cut base64": [(b"authorization", RIGHT[1].rstrip(b"=")[:-1])],
    "the pair in the clear": [(b"authorization", f"Basic coordinator:{PASSWORD}".encode())],
    "beyond ASCII": [(b"authorization", "Basic ÄÖÜ".encode())],
    "a pair beyond ASCII": [basic("coordinator:pässwörd-pässwörd")],
    "no UTF-8": [(b"authorization", b"Basic \xff\xfe\x80")],
    "a tab for the blank": [(b"authorization", b"Basic\t" + RIGHT[1][6:])],
    "twice the right one": [RIGHT, RIGHT],
    "right, then wrong": [RIGHT, basic("coordinator:no")],
    "wrong, then right": [basic("coordinator:no"), RIGHT],
    "three times": [RIGHT, RIGHT, RIGHT],
    "in the proxy's own header": [(b"proxy-authorization", RIGHT[1])],
    "in a cookie": [(b"cookie", b"authorization=" + RIGHT[1])],
}


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG.keys())
def test_any_other_credential_is_refused(headers: Headers) -> None:
    with pytest.raises(REFUSED):
        door().admit([HOST, *headers], now=NOW)


@given(st.binary(max_size=80))
@example(b"Basic ")
def test_no_made_up_credential_passes_or_breaks_the_door(value: bytes) -> None:
    with pytest.raises(REFUSED):
        door().admit([HOST, (b"authorization", value)], now=NOW)


@given(st.binary(max_size=80).filter(lambda pair: pair != f"coordinator:{PASSWORD}".encode()))
def test_no_other_pair_passes(pair: bytes) -> None:
    with pytest.raises(REFUSED):
        door().admit([HOST, (b"authorization", b"Basic " + base64.b64encode(pair))], now=NOW)


@pytest.mark.parametrize("headers", WRONG.values(), ids=WRONG.keys())
def test_every_wrong_credential_takes_the_constant_time_comparison(
    headers: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def noted(one: bytes, other: bytes) -> bool:
        lengths.append((len(one), len(other)))
        return compare(one, other)

    under_test = door()
    monkeypatch.setattr(hmac, "compare_digest", noted)
    with pytest.raises(REFUSED):
        under_test.admit([HOST, *headers], now=NOW)
    # Digests of one length: neither the user's nor the password's length shows in the time.
    assert lengths == ([(32, 32)] if any(name == b"authorization" for name, _ in headers) else [])


def test_a_stranger_is_told_nothing_but_that_the_credential_is_wrong() -> None:
    told = []
    for headers in ([], [(b"host", b"evil.example")], [HOST, (b"origin", b"http://evil.example")]):
        with pytest.raises(Unauthorized) as refused:
            door().admit(headers, now=NOW)
        told.append(refused.value.body())
    assert len(set(told)) == 1


@pytest.mark.parametrize("host", [b"100.64.0.9:9121", b"nas:9121", b"NAS:9121", b"[fd7a:115c:a1e0::9]:9121"])
def test_each_of_the_proxys_names_is_a_good_host(host: bytes) -> None:
    door("100.64.0.9", "nas", "fd7a:115c:a1e0::9").admit([(b"host", host), RIGHT], now=NOW)


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b""],
        [b"100.64.0.9"],
        [b"100.64.0.9:80"],
        [b"100.64.0.9:91210"],
        [b"evil.example:9121"],
        [b"127.0.0.1:9121"],
        [b"100.64.0.9.evil.example:9121"],
        [b"x@100.64.0.9:9121"],
        [b"100.64.0.9:9121."],
        [b"\xff:9121"],
        [b"100.64.0.9:9121", b"100.64.0.9:9121"],
        [b"100.64.0.9:9121", b"evil.example:9121"],
        [b"evil.example:9121", b"100.64.0.9:9121"],
    ],
)
def test_any_other_host_is_refused(hosts: list[bytes]) -> None:
    with pytest.raises(HostRefused, match="SWITCHBOARD_PROXY_NAMES"):
        door().admit([*((b"host", host) for host in hosts), RIGHT], now=NOW)


def test_port_80_may_be_left_out_as_browsers_do() -> None:
    on_80 = door("nas", "fd7a:115c:a1e0::80", port=80)
    for host in (b"nas", b"nas:80", b"[fd7a:115c:a1e0::80]"):
        on_80.admit([(b"host", host), RIGHT, (b"origin", b"http://" + host)], now=NOW)
    with pytest.raises(HostRefused):
        on_80.admit([(b"host", b"nas:9121"), RIGHT], now=NOW)


@pytest.mark.parametrize("origin", [b"http://100.64.0.9:9121", b"HTTP://100.64.0.9:9121"])
def test_the_proxys_own_pages_may_ask(origin: bytes) -> None:
    door().admit([HOST, RIGHT, (b"origin", origin)], now=NOW)


@pytest.mark.parametrize(
    "origins",
    [
        [b"http://evil.example"],
        [b"null"],
        [b""],
        [b"https://100.64.0.9:9121"],
        [b"http://100.64.0.9"],
        [b"http://100.64.0.9:9121/"],
        [b"http://100.64.0.9:9121.evil.example"],
        [b"http://127.0.0.1:9119"],
        [b"http://100.64.0.9:9121", b"http://100.64.0.9:9121"],
        [b"http://100.64.0.9:9121", b"http://evil.example"],
        [b"http://evil.example", b"http://100.64.0.9:9121"],
    ],
)
def test_a_page_of_another_origin_may_not_ask(origins: list[bytes]) -> None:
    with pytest.raises(OriginRefused):
        door().admit([HOST, RIGHT, *((b"origin", origin) for origin in origins)], now=NOW)


def test_the_cookie_counts_for_the_proxys_own_pages_and_not_for_those_that_are_listed() -> None:
    listed = Door("coordinator", [PASSWORD], address="100.64.0.9", port=9121, public_origins=["https://board.example"])
    cookie = (b"cookie", listed.cookie_for([HOST], now=NOW).partition(b";")[0])
    listed.admit([HOST, cookie, (b"origin", b"http://100.64.0.9:9121")], now=NOW, is_handshake=True)
    with pytest.raises(Unauthorized):
        listed.admit([HOST, cookie, (b"origin", b"https://board.example")], now=NOW, is_handshake=True)
    listed.admit([HOST, RIGHT, (b"origin", b"https://board.example")], now=NOW, is_handshake=True)
