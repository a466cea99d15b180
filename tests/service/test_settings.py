"""Settings from the environment: every mistake at once, in words an operator understands."""

from typing import Annotated, Self

import pytest
from pydantic import BaseModel, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from switchboard_service.settings import SettingsError, load


class Place(BaseModel):
    port: Annotated[int, Field(ge=1)] = 1


class Some(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SWITCHBOARD_PROXY_", frozen=True)

    user: str
    port: Annotated[int, Field(ge=1, le=65535)] = 9121
    is_open: bool = False
    seconds: Annotated[float, Field(gt=0)] = 20.0
    places: dict[Annotated[str, Field(pattern="^[a-z]+$")], Place] = {}


def test_what_is_set_is_read_and_what_is_not_has_its_default() -> None:
    some = load(Some, {"SWITCHBOARD_PROXY_USER": "me", "SWITCHBOARD_PROXY_PLACES": '{"a": {"port": 7}}', "HOME": "/"})
    assert (some.user, some.port, some.places["a"].port) == ("me", 9121, 7)


def test_the_process_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHBOARD_PROXY_PORT", "1")
    assert load(Some, {"SWITCHBOARD_PROXY_USER": "me"}).port == 9121


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load(Some, {"SWITCHBOARD_PROXY_USER": "me", "SWITCHBOARD_PROXY_PORT": ""}).port == 9121


def test_all_mistakes_are_told_at_once_without_the_values() -> None:
    with pytest.raises(SettingsError) as wrong:
        load(
            Some,
            {
                "SWITCHBOARD_PROXY_PORT": "secret-70000",
                "SWITCHBOARD_PROXY_IS_OPEN": "perhaps",
                "SWITCHBOARD_PROXY_SECONDS": "0",
                "SWITCHBOARD_PROXY_PLACES": '{"a": {"port": 0}, "B": {}}',
                "SWITCHBOARD_PROXY_USR": "me",
            },
        )
    assert sorted(wrong.value.problems) == [
        "SWITCHBOARD_PROXY_IS_OPEN must be yes or no",
        "SWITCHBOARD_PROXY_PLACES: `a.port` must be at least 1",
        "SWITCHBOARD_PROXY_PLACES: the name `B` must match ^[a-z]+$",
        "SWITCHBOARD_PROXY_PORT must be a whole number",
        "SWITCHBOARD_PROXY_SECONDS must be greater than 0",
        "SWITCHBOARD_PROXY_USER is missing: set it",
        "SWITCHBOARD_PROXY_USR is not known, did you mean `SWITCHBOARD_PROXY_USER`?",
    ]
    assert "secret" not in str(wrong.value)


def test_broken_json_is_told_with_its_place_and_once() -> None:
    with pytest.raises(SettingsError) as wrong:
        load(Some, {"SWITCHBOARD_PROXY_USER": "me", "SWITCHBOARD_PROXY_PLACES": '{"a": }'})
    assert wrong.value.problems == ["SWITCHBOARD_PROXY_PLACES is not valid JSON: Expecting value at character 7"]


def test_a_mistake_between_two_settings_is_told_in_the_words_of_its_check() -> None:
    class Pair(Some):
        @model_validator(mode="after")
        def _differ(self) -> Self:
            if self.port == self.seconds:
                raise ValueError("the port must not be the seconds")
            return self

    with pytest.raises(SettingsError) as wrong:
        load(Pair, {f"SWITCHBOARD_PROXY_{name}": "7" for name in ("USER", "PORT", "SECONDS")})
    assert wrong.value.problems == ["SWITCHBOARD_PROXY_…: the port must not be the seconds"]


@pytest.mark.parametrize("name", ["SWITCHBOARD_PORT_X", "switchboard_proxy_user", "SWITCHBOARD_PROXY_PORTS"])
def test_a_name_of_ours_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is not known"):
        load(Some, {"SWITCHBOARD_PROXY_USER": "me", name: "1"})


@pytest.mark.parametrize("name", ["SWITCHBOARD_COORDINATOR_PORT", "SWITCHBOARD_URL", "SWITCHBOARD_KEY_FILE", "OTHER"])
def test_names_of_the_other_service_and_of_the_client_are_let_be(name: str) -> None:
    load(Some, {"SWITCHBOARD_PROXY_USER": "me", name: "1"})
