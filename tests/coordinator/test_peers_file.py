"""The peers file: what may stand there, and every mistake with its line and key."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from switchboard_coordinator.address import Address
from switchboard_coordinator.peers.peers_file import PeersError, PeersFile, parse_peers, read_peers, schema

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "peers.example.yaml"
PUBLISHED = ROOT / "docs" / "peers.schema.json"
WELL = "peers:\n  nas: {host: 100.64.0.12, password_file: nas_password}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(PeersError) as caught:
        parse_peers(text, "peers.yaml")
    return caught.value.problems


def test_a_peer_needs_a_host_and_a_password_file_and_has_defaults_for_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "peers.yaml"
    file.write_text(WELL)
    peer = read_peers(file).peers["nas"]
    assert (peer.port, peer.user, peer.max_turns) == (9121, "coordinator", 4)
    assert list(peer.profiles) == ["default"]
    assert peer.profiles["default"].capabilities == ()
    assert peer.authority == "100.64.0.12:9121"
    assert peer.password(tmp_path).path == tmp_path / "nas_password"
    assert peer.password(Path("/else")).path == Path("/else/nas_password")


def test_an_ipv6_host_is_written_in_brackets() -> None:
    peers = parse_peers("peers: {nas: {host: 'fd7a:115c:a1e0::1', password_file: p}}", "peers.yaml")
    assert peers.peers["nas"].authority == "[fd7a:115c:a1e0::1]:9121"


def test_a_profile_may_stand_without_anything_behind_it() -> None:
    peers = parse_peers(
        "peers:\n  nas:\n    host: nas\n    password_file: p\n    profiles:\n      default:\n      work:\n",
        "peers.yaml",
    )
    assert [*peers.peers["nas"].profiles] == ["default", "work"]


def test_all_mistakes_are_told_at_once_with_line_and_key() -> None:
    text = """\
peers:
  Nas:
    hosst: nas
    password_file: p
  tower:
    host: http://tower:9121
    port: 99999
    user: "a:b"
    max_turns: many
    profiles:
      all: {}
      work: {capabilites: [gpu]}
      code: {capabilities: [gpu, gpu]}
  fleet: {host: fleet, password_file: p}
  tower: {host: other, password_file: p}
"""
    assert problems(text) == [
        "peers.yaml line 2: `peers.Nas.host` is missing",
        (
            "peers.yaml line 2: `peers.Nas` is no name: it takes lower-case letters, digits and hyphens, "
            "and no hyphen first"
        ),
        "peers.yaml line 3: `peers.Nas.hosst` is not known, did you mean `host`?",
        "peers.yaml line 5: `peers.tower.password_file` is missing",
        (
            "peers.yaml line 6: `peers.tower.host` must be an IP address or a host name alone, "
            "such as 100.64.0.12 or nas.example.net"
        ),
        "peers.yaml line 7: `peers.tower.port` must be at most 65535",
        "peers.yaml line 8: `peers.tower.user` must match ^[!-9;-~]+$",
        "peers.yaml line 9: `peers.tower.max_turns` must be a whole number",
        "peers.yaml line 11: `peers.tower.profiles.all` is reserved (it is a mode): choose another name",
        "peers.yaml line 12: `peers.tower.profiles.work.capabilites` is not known, did you mean `capabilities`?",
        "peers.yaml line 13: `peers.tower.profiles.code.capabilities` names a capability twice: name each once",
        "peers.yaml line 14: `peers.fleet` is reserved (the group of all): choose another name",
        "peers.yaml line 15: `peers.tower` is there already: name each once",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: `peers` is missing"),
        ("- nas", "line 1: `the file` must be an object"),
        ("peers: {}", "line 1: `peers` must hold at least 1"),
        ("peers:\n  nas:\n", "line 2: `peers.nas` must be an object"),
        ("peerz: {}\n" + WELL, "line 1: `peerz` is not known, did you mean `peers`?"),
        ("xyz: 1\n" + WELL, "line 1: `xyz` is not known; there are peers, groups"),
        (WELL + "    tab: \t\n  x: [", "line 3: "),
    ],
)
def test_a_file_of_another_shape_is_told_where(text: str, words: str) -> None:
    assert any(problem.startswith(f"peers.yaml {words}") for problem in problems(text))


@pytest.mark.parametrize("host", ["1.2.3", "100.64.0.300", "nas:9121", "user@nas", "nas/x", "-nas", "a..b", "''", "1"])
def test_a_host_is_an_address_or_a_name_alone(host: str) -> None:
    assert any(
        "`peers.nas.host` must be" in told for told in problems(f"peers: {{nas: {{host: {host!r}, password_file: p}}}}")
    )


def test_a_number_is_a_number_and_not_text_or_a_truth() -> None:
    for value in ("'9121'", "yes", "1.5"):
        text = f"peers: {{nas: {{host: nas, password_file: p, port: {value}}}}}"
        assert problems(text) == ["peers.yaml line 1: `peers.nas.port` must be a whole number"]


def test_a_group_may_have_a_chair() -> None:
    peers = parse_peers(WELL + "groups: {fleet: {chair: nas}}\n", "peers.yaml")
    assert peers.chairs == {"fleet": Address("default", "nas")}
    assert parse_peers(WELL, "peers.yaml").chairs == {}


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ("{gpu: {chair: nas}}", "`groups.gpu` is no group: no profile has the capability gpu"),
        ("{fleet: {chair: work@nas}}", "`groups.fleet.chair` is work@nas, which no peer has"),
        ("{fleet: {chair: all@fleet}}", "`groups.fleet.chair` must be one address, such as default@nas"),
        ("{fleet: {chair: Nas}}", "`groups.fleet.chair` must be one address, such as default@nas"),
        ("{fleet: {chair: 1}}", "`groups.fleet.chair` must be one address, such as default@nas"),
        ("{fleet: {}}", "`groups.fleet.chair` is missing"),
        ("{fleet: {chairs: nas, chair: nas}}", "`groups.fleet.chairs` is not known, did you mean `chair`?"),
    ],
)
def test_a_group_that_cannot_be_is_told_where(groups: str, words: str) -> None:
    assert problems(WELL + f"groups: {groups}\n") == [f"peers.yaml line 3: {words}"]


def test_two_peers_at_one_place_are_a_mistake_however_it_is_written() -> None:
    text = "peers:\n  nas: {host: Tower.example, password_file: p}\n  tower: {host: tower.EXAMPLE, password_file: p}\n"
    told = "`peers.tower.host` is tower.EXAMPLE:9121, where nas is already: each peer has its own"
    assert problems(text) == [f"peers.yaml line 3: {told}"]


def test_a_capability_named_like_a_peer_is_a_mistake_at_its_own_line() -> None:
    text = WELL + "  tower:\n    host: tower\n    password_file: p\n    profiles:\n      default:\n"
    text += "        capabilities:\n          - gpu\n          - nas\n"
    told = (
        "`peers.tower.profiles.default.capabilities.1` is nas, which is a peer's name: choose another one for the group"
    )
    assert problems(text) == [f"peers.yaml line 10: {told}"]


def test_no_mistake_shows_a_value() -> None:
    text = "peers: {nas: {host: 'hunter2 hunter2', password_file: [hunter2], user: 'hunter2 :', port: hunter2}}"
    assert "hunter2" not in " ".join(problems(text))


def test_a_file_that_cannot_be_read_is_told_in_one_sentence(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("peers: {nas: {host: näs}}".encode("latin-1"))
    for file, words in (
        (tmp_path / "none.yaml", "cannot be read: No such file"),
        (tmp_path, "directory"),
        (latin, "UTF-8"),
    ):
        with pytest.raises(PeersError, match=words) as caught:
            read_peers(file)
        assert str(file) in str(caught.value)


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text() == schema(), "run: switchboard schema > docs/peers.schema.json"


def valid(value: Any) -> bool:
    return jsonschema.Draft202012Validator(json.loads(schema())).is_valid(value)


def test_the_example_is_valid_for_the_coordinator_and_for_the_schema() -> None:
    peers = read_peers(EXAMPLE)
    assert list(peers.peers) == ["nas", "tower"]
    assert valid(yaml.safe_load(EXAMPLE.read_text()))


def test_the_example_has_every_key_that_there_is() -> None:
    value = yaml.safe_load(EXAMPLE.read_text())["peers"]["nas"]
    assert value.keys() == PeersFile.model_json_schema()["$defs"]["PeerEntry"]["properties"].keys()


def test_the_readme_shows_a_peers_file_that_works() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert list(parse_peers(block, "README.md").peers) == ["nas", "laptop"]
    assert valid(yaml.safe_load(block))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"peers": {}},
        {"peers": {"nas": {"host": "nas"}}},
        {"peers": {"fleet": {"host": "nas", "password_file": "p"}}},
        {"peers": {"Nas": {"host": "nas", "password_file": "p"}}},
        {"peers": {"nas": {"host": "nas", "password_file": "p", "hosst": 1}}},
        {"peers": {"nas": {"host": "nas", "password_file": "p", "profiles": {"all": {}}}}},
        {"peers": {"nas": {"host": "nas", "password_file": "p"}}, "groups": {"fleet": {}}},
        {"peers": {"nas": {"host": "nas", "password_file": "p"}}, "groups": {"Fleet": {"chair": "nas"}}},
    ],
)
def test_an_editor_with_the_schema_finds_what_the_coordinator_finds(value: Any) -> None:
    assert not valid(value)
    with pytest.raises(PeersError):
        parse_peers(yaml.safe_dump(value), "peers.yaml")
