"""The Compose files that hosts run: whole, closed, and true to the services' settings."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings
from switchboard_coordinator.settings import CoordinatorSettings
from switchboard_proxy.settings import ProxySettings

COMPOSE = Path(__file__).parents[2] / "compose"
SERVICES = ["coordinator", "proxy"]
SETTINGS = [("coordinator", CoordinatorSettings), ("proxy", ProxySettings)]
LAID_BY_THE_FILE = {"secrets_folder", "peers_file"}
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
        assert volume["read_only"] is True
        assert not volume["bind"].get("create_host_path")


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
