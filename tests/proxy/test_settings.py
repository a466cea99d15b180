"""What an operator can set, and how mistakes are told."""

from pathlib import Path

import pytest
from switchboard_proxy.settings import Profile, ProxySettings
from switchboard_service.settings import SettingsError, load

ADDRESS = {"SWITCHBOARD_PROXY_LISTEN_ADDRESS": "100.64.0.9"}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as refused:
        load(ProxySettings, environ)
    return refused.value.problems


def test_an_address_is_all_that_must_be_set() -> None:
    settings = load(ProxySettings, ADDRESS)
    assert (str(settings.listen_address), settings.port, settings.user) == ("100.64.0.9", 9121, "coordinator")
    assert settings.profiles == {"default": Profile(port=8642, key_file="api_server_key", prefix="")}
    assert (settings.dashboard_port, settings.max_body_bytes, settings.drain_seconds) == (9119, 10_000_000, 20)
    assert (settings.names, settings.allow_untrusted_bind) == ((), False)
    assert settings.password.path == Path("/run/switchboard/secrets/proxy_password")
    assert settings.key("default").path == Path("/run/switchboard/secrets/api_server_key")


def test_everything_can_be_set() -> None:
    environ = ADDRESS | {
        "SWITCHBOARD_PROXY_PORT": "9221",
        "SWITCHBOARD_PROXY_ALLOW_UNTRUSTED_BIND": "yes",
        "SWITCHBOARD_PROXY_USER": "switchboard",
        "SWITCHBOARD_PROXY_SECRETS_FOLDER": "/secrets",
        "SWITCHBOARD_PROXY_PROFILES": '{"default": {}, "work": {"port": 8643, "key_file": "k", "prefix": "/p/work"}}',
        "SWITCHBOARD_PROXY_DASHBOARD_PORT": "9219",
        "SWITCHBOARD_PROXY_NAMES": " nas, nas.tail-net.ts.net ,",
        "SWITCHBOARD_PROXY_MAX_BODY_BYTES": "5",
        "SWITCHBOARD_PROXY_DRAIN_SECONDS": "0.5",
    }
    settings = load(ProxySettings, environ)
    assert settings.names == ("nas", "nas.tail-net.ts.net")
    assert settings.profiles["work"] == Profile(port=8643, key_file="k", prefix="/p/work")
    assert settings.key("work").path == Path("/secrets/k")
    assert settings.allow_untrusted_bind
    assert (settings.port, settings.user, settings.dashboard_port) == (9221, "switchboard", 9219)
    assert (settings.max_body_bytes, settings.drain_seconds) == (5, 0.5)


def test_all_mistakes_are_told_at_once_each_with_its_variable() -> None:
    told = problems(
        {
            "SWITCHBOARD_PROXY_PORT": "70000",
            "SWITCHBOARD_PROXY_USER": "a:b",
            "SWITCHBOARD_PROXY_NAMES": "nas:9121",
            "SWITCHBOARD_PROXY_PROFILES": '{"default": {"prot": 1}, "Work": {}}',
            "SWITCHBOARD_PROXY_DRAIN_SECONDS": "0",
            "SWITCHBOARD_PROXY_ALLOW_UNTRUSTED_BIND": "maybe",
            "SWITCHBOARD_PROXY_DASHBORD_PORT": "9119",
        }
    )
    for variable in (
        *("LISTEN_ADDRESS", "PORT", "USER", "NAMES", "DRAIN_SECONDS", "ALLOW_UNTRUSTED_BIND"),
        *("PROFILES: `default.prot`", "PROFILES: the name `Work`", "DASHBORD_PORT"),
    ):
        assert sum(f"SWITCHBOARD_PROXY_{variable} " in problem for problem in told) == 1, (variable, told)
    assert len(told) == 9


@pytest.mark.parametrize("address", ["nas", "", "100.64.0", "100.64.0.0/10", "100.64.0.9:9121", "localhost"])
def test_the_address_is_one_address(address: str) -> None:
    [problem] = problems({"SWITCHBOARD_PROXY_LISTEN_ADDRESS": address})
    assert "SWITCHBOARD_PROXY_LISTEN_ADDRESS" in problem


@pytest.mark.parametrize("user", ["a:b", "a b", "a\n", ":"])
def test_a_user_that_basic_cannot_carry_is_refused(user: str) -> None:
    [problem] = problems(ADDRESS | {"SWITCHBOARD_PROXY_USER": user})
    assert "SWITCHBOARD_PROXY_USER" in problem


@pytest.mark.parametrize("name", ["nas:9121", "http://nas", "nas/", "näs", "*", "-.-"])
def test_a_name_is_a_host_name_without_a_port(name: str) -> None:
    [problem] = problems(ADDRESS | {"SWITCHBOARD_PROXY_NAMES": f"tower,{name}"})
    assert "is no host name" in problem


@pytest.mark.parametrize(
    ("profiles", "words"),
    [
        ('{"work": {}}', "profiles lacks `default`"),
        ("{}", "profiles lacks `default`"),
        ('{"default": {}, "work": {}}', "default and work lead to the same place"),
        ('{"default": {}, "work": {"prefix": "/p/w"}, "w": {"prefix": "/p/w"}}', "work and w lead to the same place"),
        ('{"default": {"prefix": "p/default"}}', "`default.prefix`"),
        ('{"default": {"prefix": "/p/default/"}}', "`default.prefix`"),
        ('{"default": {"prefix": "/p?x"}}', "`default.prefix`"),
        ('{"default": {"prefix": "/a b"}}', "`default.prefix`"),
        ('{"default": {"port": 0}}', "`default.port`"),
        ('{"default": {}', "is not valid JSON"),
        ("default", "is not valid JSON"),
        ("[]", "SWITCHBOARD_PROXY_PROFILES"),
    ],
)
def test_profiles_that_cannot_be_told_apart_or_reached_are_refused(profiles: str, words: str) -> None:
    [problem] = problems(ADDRESS | {"SWITCHBOARD_PROXY_PROFILES": profiles})
    assert words in problem


def test_two_profiles_may_share_a_gateway_or_have_one_each() -> None:
    both = '{"default": {}, "work": {"prefix": "/p/work"}, "home": {"port": 8643}}'
    settings = load(ProxySettings, ADDRESS | {"SWITCHBOARD_PROXY_PROFILES": both})
    assert list(settings.profiles) == ["default", "work", "home"]
