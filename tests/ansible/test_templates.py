"""What the roles proxy and coordinator write for many kinds of machines, played on this one. Needs an engine's client.

Each kind is a host of one inventory, and writes into a folder of its own.
"""

import json
import os
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
import yaml
from ansible.play import Play, play
from pydantic_settings import BaseSettings
from switchboard_coordinator.peers.peers_file import PeersFile, read_peers
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_proxy.settings import ProxySettings
from switchboard_service.settings import load

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away: run the tests as root"),
]

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".tools/ansible/bin"
USER = 10001
"""Whose the secrets are: the user of the images."""
PLAYBOOK = """
- hosts: peers:!absent
  gather_facts: false
  tasks:
    - &validate
      ansible.builtin.validate_argument_spec:
        argument_spec: >-
          {{ (lookup('ansible.builtin.file', roles ~ '/' ~ role ~ '/meta/argument_specs.yml') | from_yaml)
             .argument_specs.main.options }}
      vars: {role: proxy}
    - ansible.builtin.import_role: {name: proxy, tasks_from: configure}
    - ansible.builtin.import_role: {name: proxy, tasks_from: secrets}
- hosts: coordinators
  gather_facts: false
  tasks:
    - <<: *validate
      vars: {role: coordinator}
    - ansible.builtin.import_role: {name: coordinator, tasks_from: peers}
    - ansible.builtin.import_role: {name: coordinator, tasks_from: secrets}
    - ansible.builtin.import_role: {name: coordinator, tasks_from: configure}
    - ansible.builtin.import_role: {name: coordinator, tasks_from: forgotten}
"""
PEERS: dict[str, dict[str, Any]] = {
    "plain": {"tailnet_address": "100.64.0.1"},
    "sharing": {
        "tailnet_address": "100.64.0.2",
        "profiles": {"default": {"capabilities": ["home"]}, "work": {"capabilities": ["code"]}, "bare": None},
    },
    "apart": {
        "tailnet_address": "100.64.0.3",
        "profiles": {"default": {}, "work": {"port": 8643, "model": {"default": "other"}, "capabilities": ["code"]}},
    },
    "chosen": {
        "tailnet_address": "100.64.0.4",
        "agent_port": 8700,
        "proxy_port": 9333,
        "proxy_names": ["nas", "nas.example.net"],
        "proxy_drain_seconds": 45,
        "proxy_settings": {"DASHBOARD": "no", "USER": "me'$HOME#1"},
        "max_turns": 9,
        "transport": "runs",
    },
    "found": {
        "tailnet_address": "fd7a:115c:a1e0::7",
        "agent_manage": False,
        "agent_found_keys": {"default": "key-of-default", "work": "key-of-work"},
        "profiles": {"default": {}, "work": {}},
    },
    "exposed": {
        "tailnet_address": "100.64.0.5",
        "host_tailnet_name": "exposed.tail1234.ts.net",
        "expose": "tailscale_serve",
        "proxy_names": ["exposed.example.net"],
    },
    "away": {},
    "unknown": {},
}
ABSENT = ("away", "unknown")
"""Machines that were not reached, and whose addresses nobody gave."""
GROUPS = {"code": {"chair": "work@apart"}}


S = TypeVar("S", bound=BaseSettings)


class Rendered:
    """What was written into a folder, and what it comes to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault: dict[str, Any] = {
            "vault_consumer_key": f"canary-consumer-{'k' * 16}",
            "vault_peers": {
                name: {
                    "basic_password": f"canary-{name}-password",
                    "api_server_keys": {"default": f"canary-{name}-key", "work": f"canary-{name}-key-of-work"},
                }
                for name in PEERS
            },
        }
        self.vault["vault_peers"]["chosen"] |= {
            "basic_password_next": "canary-successor",
            "api_server_keys_next": {"default": "canary-next-key"},
        }
        self.addresses = {name: peer["tailnet_address"] for name, peer in PEERS.items() if name not in ABSENT}

    async def play(self, *flags: str) -> Play:
        """Write everything."""
        peers = {
            name: {key: value for key, value in peer.items() if key != "tailnet_address"}
            | ({"host_tailnet_address": self.addresses[name]} if name in self.addresses else {})
            for name, peer in PEERS.items()
        }
        coordinators = {
            "tower": {"coordinator_groups": GROUPS, "coordinator_settings": {"JOURNAL_DAYS": 7}},
            "served": {"expose": "tailscale_serve", "coordinator_port": 9555, "coordinator_peers": {}},
        }
        inventory = {
            "all": {
                "vars": {
                    "ansible_connection": "local",
                    "ansible_python_interpreter": str(TOOLS / "python"),
                    "image_found": {f"switchboard-{one}": {"here": _id(one)} for one in ("proxy", "coordinator")},
                    **self.vault,
                },
                "children": {
                    "peers": {"hosts": peers},
                    "absent": {"hosts": {name: {} for name in ABSENT}},
                    "coordinators": {
                        "hosts": {
                            name: told | {"host_tailnet_address": f"100.64.1.{number}"}
                            for number, (name, told) in enumerate(coordinators.items(), start=1)
                        }
                    },
                },
            }
        }
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory, sort_keys=False))
        places = {
            "roles": str(ROOT / "ansible/roles"),
            "_proxy_folder": f"{self.folder}/{{{{ inventory_hostname }}}}",
            "_coordinator_folder": f"{self.folder}/{{{{ inventory_hostname }}}}",
        }
        env = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTHON"))}
        env |= {"ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_HOME": str(self.folder / "home")}
        command = [str(TOOLS / "ansible-playbook"), "--inventory", str(self.folder / "hosts.yml"), *flags]
        return await play(
            [*command, "--extra-vars", json.dumps(places), str(self.folder / "play.yml")],
            folder=ROOT / "ansible",
            env=env | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_PIPELINING": "1"},
            log=self.folder / "play.log",
            killed_at=None,
            seconds=300,
        )

    def composed(self, name: str, service: str) -> dict[str, Any]:
        """The service of a machine, as the engine's client understands the files."""
        told = subprocess.run(
            ["docker", "compose", "--file", self.folder / name / f"{service}.yaml", "config", "--format", "json"],
            capture_output=True,
            check=True,
            timeout=60,
            env={"PATH": os.environ["PATH"]},
        )
        # It shows what it would take as one dollar as two.
        found: dict[str, Any] = json.loads(told.stdout.replace(b"$$", b"$"))["services"][service]
        return found

    def proxy(self, name: str) -> ProxySettings:
        """The settings that this machine's proxy would read."""
        return _settings(ProxySettings, self.composed(name, "proxy"))

    def peers(self, name: str) -> PeersFile:
        """The peers that this machine's coordinator would read."""
        return read_peers(self.folder / name / "peers.yaml")

    def secrets(self, name: str) -> dict[str, str]:
        """The machine's secrets by their files, which nobody else can read."""
        folder = self.folder / name / "secrets"
        for place, mode in ((folder, 0o500), *((file, 0o400) for file in folder.iterdir())):
            found = place.stat()
            assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (mode, USER, USER)
        return {file.name: file.read_text() for file in folder.iterdir()}


def _id(image: str) -> str:
    return f"sha256:{image.encode().hex():0<64}"


def _settings(kind: type[S], service: Mapping[str, Any]) -> S:
    return load(kind, {name: value for name, value in service["environment"].items() if value})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    folder = tmp_path_factory.mktemp("rendered")
    (folder / "play.yml").write_text(PLAYBOOK)
    (folder / "group_vars").symlink_to(ROOT / "ansible/group_vars")
    before = {"peers": {name: {"host": f"100.64.9.{len(name)}", "profiles": {}} for name in ("away", "plain", "gone")}}
    (folder / "tower/secrets").mkdir(parents=True)
    (folder / "tower/peers.yaml").write_text(yaml.safe_dump(before))
    (folder / "tower/secrets/gone_password").write_text("of a peer that is none any more")
    rendered = Rendered(folder)
    shown = (await rendered.play("--diff", "-vvv")).succeeded().output
    assert "canary-" not in shown
    return rendered


async def test_a_plain_peer_has_a_profile_behind_its_default_port(rendered: Rendered) -> None:
    settings = rendered.proxy("plain")
    assert (str(settings.listen_address), settings.port, settings.names) == ("100.64.0.1", 9121, ())
    assert {name: (it.port, it.prefix) for name, it in settings.profiles.items()} == {"default": (8642, "")}
    assert rendered.secrets("plain") == {
        "proxy_password": "canary-plain-password",
        "api_server_key": "canary-plain-key",
    }


async def test_profiles_without_a_port_share_the_gateway_and_the_key_of_the_default_one(rendered: Rendered) -> None:
    profiles = rendered.proxy("sharing").profiles
    assert {name: (it.port, it.prefix) for name, it in profiles.items()} == {
        "default": (8642, ""),
        "work": (8642, "/p/work"),
        "bare": (8642, "/p/bare"),
    }
    secrets = rendered.secrets("sharing")
    assert {secrets[it.key_file] for it in profiles.values()} == {"canary-sharing-key"}


async def test_a_profile_with_a_port_has_a_key_of_its_own(rendered: Rendered) -> None:
    profiles, secrets = rendered.proxy("apart").profiles, rendered.secrets("apart")
    assert {name: (it.port, it.prefix, secrets[it.key_file]) for name, it in profiles.items()} == {
        "default": (8642, "", "canary-apart-key"),
        "work": (8643, "", "canary-apart-key-of-work"),
    }


async def test_what_an_operator_chose_reaches_the_proxy_as_it_was_written(rendered: Rendered) -> None:
    settings = rendered.proxy("chosen")
    assert (settings.port, settings.names) == (9333, ("nas", "nas.example.net"))
    assert (settings.drain_seconds, settings.dashboard) == (45, False)
    assert settings.profiles["default"].port == 8700
    assert settings.user == "me'$HOME#1"


async def test_a_successor_of_a_password_counts_beside_it_and_a_successor_of_a_key_in_its_place(
    rendered: Rendered,
) -> None:
    assert rendered.secrets("chosen") == {
        "proxy_password": "canary-chosen-password",
        "proxy_password_next": "canary-successor",
        "api_server_key": "canary-next-key",
    }


async def test_the_keys_of_an_agent_that_is_there_are_those_that_were_found(rendered: Rendered) -> None:
    profiles, secrets = rendered.proxy("found").profiles, rendered.secrets("found")
    assert {name: secrets[it.key_file] for name, it in profiles.items()} == {
        "default": "key-of-default",
        "work": "key-of-work",
    }


async def test_a_tailnet_address_may_be_of_ipv6(rendered: Rendered) -> None:
    assert str(rendered.proxy("found").listen_address) == "fd7a:115c:a1e0::7"
    assert rendered.peers("tower").peers["found"].host == "fd7a:115c:a1e0::7"


@pytest.mark.parametrize("name", [name for name in PEERS if name not in ABSENT])
async def test_a_proxy_starts_by_id_and_may_end_its_answers_before_it_is_stopped(rendered: Rendered, name: str) -> None:
    service = rendered.composed(name, "proxy")
    assert (service["image"], service["pull_policy"]) == (_id("proxy"), "never")
    assert _seconds(service["stop_grace_period"]) >= rendered.proxy(name).drain_seconds + 6
    assert [volume["source"] for volume in service["volumes"]] == [f"{rendered.folder}/{name}/secrets"]


async def test_the_coordinator_knows_every_peer_whose_address_is_or_was_known(rendered: Rendered) -> None:
    peers = rendered.peers("tower").peers
    assert {name: peer.host for name, peer in peers.items()} == {
        name: peer["tailnet_address"] for name, peer in PEERS.items() if name not in ABSENT
    } | {"away": "100.64.9.4", "exposed": "exposed.tail1234.ts.net"}
    assert (peers["chosen"].port, peers["chosen"].max_turns, peers["chosen"].transport) == (9333, 9, "runs")
    assert {name: list(it.capabilities) for name, it in peers["sharing"].profiles.items()} == {
        "default": ["home"],
        "work": ["code"],
        "bare": [],
    }
    assert list(peers["apart"].profiles["work"].capabilities) == ["code"]


async def test_what_is_said_of_groups_is_there_too(rendered: Rendered) -> None:
    assert str(rendered.peers("tower").groups["code"].chair) == "work@apart"


async def test_the_coordinator_has_the_passwords_of_its_peers_and_of_nobody_else(rendered: Rendered) -> None:
    peers = rendered.peers("tower").peers
    assert rendered.secrets("tower") == {f"{name}_password": f"canary-{name}-password" for name in peers}
    assert {peer.password_file for peer in peers.values()} == {f"{name}_password" for name in peers}


async def test_the_coordinator_stands_at_the_tailnet_and_on_loopback(rendered: Rendered) -> None:
    service = rendered.composed("tower", "coordinator")
    settings = _settings(CoordinatorSettings, service)
    assert [str(address) for address in settings.addresses] == ["100.64.1.1", "127.0.0.1"]
    assert (settings.port, settings.journal_days) == (9120, 7)
    assert (service["image"], service["pull_policy"]) == (_id("coordinator"), "never")
    assert _seconds(service["stop_grace_period"]) >= settings.drain_seconds + 6


async def test_behind_tailscale_serve_the_coordinator_is_on_loopback_alone(rendered: Rendered) -> None:
    settings = _settings(CoordinatorSettings, rendered.composed("served", "coordinator"))
    assert [str(address) for address in settings.addresses] == ["127.0.0.1"]
    assert settings.port == 9555


async def test_behind_tailscale_serve_a_proxy_is_on_loopback_alone_and_asked_by_its_name(rendered: Rendered) -> None:
    settings = rendered.proxy("exposed")
    assert (str(settings.listen_address), settings.behind_serve, settings.serve_port) == ("127.0.0.1", True, 443)
    assert settings.names == ("exposed.tail1234.ts.net", "exposed.example.net")
    peers = rendered.peers("tower").peers
    assert (peers["exposed"].port, peers["exposed"].tls) == (443, True)
    assert [name for name, peer in peers.items() if peer.tls] == ["exposed"]


async def test_no_secret_is_outside_the_folders_of_secrets(rendered: Rendered) -> None:
    files = [file for file in rendered.folder.glob("*/**/*") if file.is_file() and file.parent.name != "secrets"]
    assert len(files) > len(PEERS)
    assert not [file for file in files if "canary-" in file.read_text() and "group_vars" not in file.parts]


async def test_a_second_run_keeps_a_peer_whose_machine_is_away_meanwhile(rendered: Rendered) -> None:
    address = rendered.addresses.pop("plain")
    try:
        again = (await rendered.play("--limit", "tower")).succeeded()
    finally:
        rendered.addresses["plain"] = address
    assert again.changed == 0


async def test_a_successor_that_took_its_place_leaves_no_file_behind(rendered: Rendered) -> None:
    peer = rendered.vault["vault_peers"]["chosen"]
    peer["basic_password"] = peer.pop("basic_password_next")
    assert (await rendered.play("--limit", "chosen")).succeeded().changed == 2
    assert rendered.secrets("chosen") == {
        "proxy_password": "canary-successor",
        "api_server_key": "canary-next-key",
    }


def _seconds(duration: str) -> int:
    minutes, _, seconds = duration.rpartition("m")
    return int(minutes or 0) * 60 + int(seconds.removesuffix("s"))
