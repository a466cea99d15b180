from pathlib import Path

import pytest
from switchboard_coordinator.peers.peers_file import read_peers

from bench import gateways
from bench.gateways import of_peers, portkey, switchboard
from bench.programs import Missing
from bench.systems import Place


def test_the_coordinator_is_given_its_peers_and_groups(tmp_path: Path) -> None:
    peers = {"one": ("127.0.0.1", 9001), "two": ("127.0.0.1", 9002)}
    launch = of_peers(peers, {"both": ["one", "two"], "alone": ["two"]}, Place(9000, 0, tmp_path))
    read = read_peers(Path(launch.env["SWITCHBOARD_COORDINATOR_PEERS_FILE"])).peers
    assert {name: (entry.host, entry.port) for name, entry in read.items()} == peers
    assert read["one"].profiles["default"].capabilities == ("both",)
    assert read["two"].profiles["default"].capabilities == ("both", "alone")
    secrets = Path(launch.env["SWITCHBOARD_COORDINATOR_SECRETS_FOLDER"])
    assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {0o600}


def test_the_coordinator_is_asked_for_its_peer_by_address(tmp_path: Path) -> None:
    door = switchboard(Place(9000, 9001, tmp_path)).door(9000)
    assert (door.model, door.is_exact, door.is_guarded) == ("default@peer", False, True)


def test_a_gateway_that_was_not_brought_says_what_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "PORTKEY", tmp_path)
    with pytest.raises(Missing, match="bench/packages"):
        portkey(Place(9000, 9001, tmp_path))
