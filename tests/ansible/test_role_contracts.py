"""Each role's defaults are what its argument specs promise, and each is explained."""

from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = sorted((Path(__file__).parents[2] / "ansible/roles").iterdir())


def options(role: Path) -> dict[str, dict[str, Any]]:
    """Of all entry points together."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return {name: told for entry in specs.values() for name, told in (entry.get("options") or {}).items()}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_what_the_argument_specs_promise(role: Path) -> None:
    file = role / "defaults/main.yml"
    defaults = (yaml.safe_load(file.read_text()) if file.exists() else None) or {}
    promised = options(role)
    assert set(defaults) <= set(promised)
    assert defaults == {name: told["default"] for name, told in promised.items() if name in defaults}
    assert {name for name, told in promised.items() if "default" in told} <= set(defaults)
    assert not {name for name, told in promised.items() if told.get("required")} & set(defaults)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_each_default_is_explained_above_it_or_beside_it(role: Path) -> None:
    file = role / "defaults/main.yml"
    before = ""
    for line in file.read_text().splitlines() if file.exists() else []:
        if line[:1].isalpha():
            assert before.startswith("#") or " # " in line, line
        before = line
