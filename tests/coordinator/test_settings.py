"""What the environment says about one coordinator."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from pydantic import ValidationError
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_service.mistakes import MistakesFound
from switchboard_service.settings import load

PREFIX = "SWITCHBOARD_COORDINATOR_"


def test_an_address_is_enough() -> None:
    settings = load(CoordinatorSettings, {PREFIX + "LISTEN_ADDRESS": "100.64.0.1"})
    assert settings.listen_address == ip_address("100.64.0.1")
    assert (settings.port, settings.allow_untrusted_bind, settings.drain_seconds) == (9120, False, 20.0)
    assert settings.peers_file == Path("/etc/switchboard/peers.yaml")
    assert settings.consumers_file == Path("/run/switchboard/secrets/consumers")
    assert settings.database_file == Path("/var/lib/switchboard/switchboard.db")
    assert (settings.journal, settings.journal_days, settings.journal_megabytes) == ("on", 30.0, 2048)


def test_every_setting_has_its_variable() -> None:
    values = {
        "LISTEN_ADDRESS": "::1",
        "PORT": "99",
        "ALLOW_UNTRUSTED_BIND": "yes",
        "ALSO_ON_LOOPBACK": "yes",
        "PEERS_FILE": "/a",
        "SECRETS_FOLDER": "/b",
        "DATABASE_FILE": "/c",
        "JOURNAL": "off",
        "JOURNAL_DAYS": "0.5",
        "JOURNAL_MEGABYTES": "7",
        "DRAIN_SECONDS": "1.5",
    }
    settings = load(CoordinatorSettings, {PREFIX + name: value for name, value in values.items()})
    assert settings.model_dump(mode="json") == {
        "listen_address": "::1",
        "port": 99,
        "allow_untrusted_bind": True,
        "also_on_loopback": True,
        "peers_file": "/a",
        "secrets_folder": "/b",
        "database_file": "/c",
        "journal": "off",
        "journal_days": 0.5,
        "journal_megabytes": 7,
        "drain_seconds": 1.5,
    }
    with pytest.raises(ValidationError):
        settings.port = 1


def test_all_mistakes_are_told_at_once_by_variable() -> None:
    with pytest.raises(MistakesFound) as caught:
        load(
            CoordinatorSettings,
            {
                PREFIX + "PORT": "0",
                PREFIX + "DRAIN_SECONDS": "-1",
                PREFIX + "JOURNAL": "no",
                PREFIX + "JOURNAL_DAYS": "0",
                PREFIX + "JOURNAL_MEGABYTES": "0",
                PREFIX + "PEER_FILE": "x",
                "SWITCHBOARD_URL": "x",
            },
        )
    assert sorted(caught.value.problems) == [
        f"{PREFIX}DRAIN_SECONDS must be greater than 0",
        f"{PREFIX}JOURNAL must be 'on' or 'off'",
        f"{PREFIX}JOURNAL_DAYS must be greater than 0",
        f"{PREFIX}JOURNAL_MEGABYTES must be at least 1",
        f"{PREFIX}LISTEN_ADDRESS is missing: set it",
        f"{PREFIX}PEER_FILE is not known, did you mean `{PREFIX}PEERS_FILE`?",
        f"{PREFIX}PORT must be at least 1",
    ]


@pytest.mark.parametrize(
    ("address", "places"),
    [
        ("100.64.0.1", ["100.64.0.1", "127.0.0.1"]),
        ("::1", ["::1", "127.0.0.1"]),
        ("127.0.0.1", ["127.0.0.1"]),
        ("0.0.0.0", ["0.0.0.0"]),
        ("::", ["::"]),
    ],
)
def test_loopback_comes_beside_an_address_that_does_not_cover_it(address: str, places: list[str]) -> None:
    told = {PREFIX + "LISTEN_ADDRESS": address, PREFIX + "ALSO_ON_LOOPBACK": "yes"}
    assert [*map(str, load(CoordinatorSettings, told).addresses)] == places
    told = {PREFIX + "LISTEN_ADDRESS": address}
    assert [*map(str, load(CoordinatorSettings, told).addresses)] == [address]
