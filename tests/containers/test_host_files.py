"""The Compose files that hosts run: whole, closed, and true to the services' settings."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_proxy.settings import ProxySettings
from switchboard_service.settings import load

COMPOSE = Path(__file__).parents[2] / "compose"
SERVICES = ["coordinator", "proxy"]
SETTINGS = [("coordinator", CoordinatorSettings), ("proxy", ProxySettings)]
LAID_BY_THE_FILE = {"database_file", "secrets_folder", "peers_file"}
"""Where these are inside the container is not the operator's business."""
DEMANDED = {
    "coordinator": ["IMAGE", "LISTEN_ADDRESS", "SECRETS", "PEERS"],
    "proxy": ["IMAGE", "LISTEN_ADDRESS", "SECRETS"],
}


def example(*, with_optional: bool = False) -> dict[str, str]:
    """The settings in env.example, those too that stand there as comments."""
    lines = (COMPOSE / "env.example").read_text().splitlines()
    if with_optional:
        lines = [line.removeprefix("#") for line in lines]
    return dict(line.split("=", 1) for line in lines if line.startswith("SWITCHBOARD_"))


def config(service: str, settings: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What Compose makes of a host's file in a folder of its own, as a host has it."""
    (folder / f"{service}.yaml").write_text((COMPOSE / f"{service}.yaml").read_text())
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWITCHBOARD_")}
    return subprocess.run(
        ["docker", "compose", "--file", f"{service}.yaml", "config", "--format", "json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def parsed(service: str, settings: dict[str, str], folder: Path) -> dict[str, Any]:
    """The one service in a host's file."""
    told = config(service, settings, folder)
    assert told.returncode == 0, told.stderr
    (only,) = json.loads(told.stdout)["services"].values()
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("service", SERVICES)
def test_a_hosts_file_with_the_example_settings_is_whole_and_closed(service: str, tmp_path: Path) -> None:
    it = parsed(service, example(), tmp_path)
    assert "build" not in it
    assert it["network_mode"] == "host"
    assert it["read_only"] is True
    assert it["init"] is True
    assert it["cap_drop"] == ["ALL"]
    assert it["security_opt"] == ["no-new-privileges:true"]
    assert it["restart"] == "unless-stopped"
    assert not {"cap_add", "privileged", "ports", "secrets", "user"} & it.keys()
    for volume in it["volumes"]:
        if volume["type"] == "bind":
            assert volume["read_only"] is True
            assert not volume["bind"].get("create_host_path")
    kept = [volume["target"] for volume in it["volumes"] if volume["type"] == "volume"]
    assert kept == {"coordinator": ["/var/lib/switchboard"], "proxy": []}[service]


@pytest.mark.parametrize(("service", "settings"), SETTINGS)
def test_what_is_running_is_given_longer_than_its_drain(
    service: str, settings: type[BaseSettings], tmp_path: Path
) -> None:
    grace = parsed(service, example(), tmp_path)["stop_grace_period"]
    assert float(grace.removesuffix("s")) >= settings.model_fields["drain_seconds"].default + 5


@pytest.mark.parametrize("service", SERVICES)
def test_a_hosts_file_demands_by_name_what_it_cannot_know(service: str, tmp_path: Path) -> None:
    for name in (f"SWITCHBOARD_{service.upper()}_{word}" for word in DEMANDED[service]):
        told = config(service, {key: value for key, value in example().items() if key != name}, tmp_path)
        assert told.returncode != 0
        assert name in told.stderr
        assert "env.example" in told.stderr


@pytest.mark.parametrize(("service", "settings"), SETTINGS)
def test_every_setting_of_a_service_can_be_set_and_stands_in_the_example(
    service: str, settings: type[BaseSettings], tmp_path: Path
) -> None:
    prefix = f"SWITCHBOARD_{service.upper()}_"
    names = {prefix + name.upper() for name in settings.model_fields.keys() - LAID_BY_THE_FILE}
    whole = example(with_optional=True)
    assert names <= whole.keys()
    environment = parsed(service, whole, tmp_path)["environment"]
    assert environment == {name: whole[name].replace("$", "$$") for name in names}


def test_the_folder_of_tailscaled_is_mounted_read_only_once_its_lines_count(tmp_path: Path) -> None:
    text = (COMPOSE / "proxy.yaml").read_text()
    told, lines = text.split("# With SWITCHBOARD_PROXY_TAILSCALE_SOCKET", 1)
    before = yaml.safe_load(text)["services"]["proxy"]["volumes"]
    mount = lines.split("\n", 1)[1].replace("      # ", "      ")
    after = yaml.safe_load(told + "\n" + mount)["services"]["proxy"]["volumes"]
    [added] = after[len(before) :]
    socket = Path(example(with_optional=True)["SWITCHBOARD_PROXY_TAILSCALE_SOCKET"])
    assert (added["source"], added["target"], added["read_only"]) == (str(socket.parent), str(socket.parent), True)


def test_the_example_makes_a_proxys_settings() -> None:
    prefix, of_compose = "SWITCHBOARD_PROXY_", {"IMAGE", "SECRETS", "STOP_GRACE_PERIOD"}
    told = {name: value for name, value in example(with_optional=True).items() if name.startswith(prefix)}
    settings = load(ProxySettings, {name: told[name] for name in told if name.removeprefix(prefix) not in of_compose})
    defaults = ProxySettings(listen_address=settings.listen_address)
    examples = {"profiles", "names", "public_origins", "tailscale_socket", "allowed_callers"}
    assert settings.model_dump(exclude=examples) == defaults.model_dump(exclude=examples)
