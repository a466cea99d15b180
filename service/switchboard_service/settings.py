"""Reads a service's settings from environment variables and reports every mistake at once.

Names of ours that nobody knows are refused: a misspelt variable must not mean its default.
"""

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, InitSettingsSource

from .mistakes import MistakesFound, in_words, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

FAMILY = "SWITCHBOARD_"
SERVICE_PREFIXES = ("SWITCHBOARD_PROXY_", "SWITCHBOARD_COORDINATOR_")
CLIENT_NAMES = ("SWITCHBOARD_URL", "SWITCHBOARD_KEY_FILE")

S = TypeVar("S", bound=BaseSettings)


class SettingsError(MistakesFound):
    """The environment does not make settings; each problem names its variable."""


def load(settings_class: type[S], environ: "Mapping[str, str]") -> S:
    """The settings that `environ` holds; an empty variable counts as not set.

    Raises:
        SettingsError: with all mistakes.
    """
    prefix = settings_class.model_config.get("env_prefix", "")
    problems = list(_unknown(settings_class, environ))
    values: dict[str, Any] = {}
    for name, field in settings_class.model_fields.items():
        text = environ.get(prefix + name.upper())
        if text:
            # Asked for its way of reading lists and objects only; it would look into os.environ by itself.
            source = EnvSettingsSource(settings_class)
            try:
                values[name] = source.prepare_field_value(name, field, text, value_is_complex=False)
            except json.JSONDecodeError as error:
                problems.append(f"{prefix}{name.upper()} is not valid JSON: {error.msg} at character {error.pos + 1}")
    unread = {name for name in settings_class.model_fields if environ.get(prefix + name.upper())} - values.keys()
    try:
        settings = settings_class(_build_sources=((InitSettingsSource(settings_class, values),), {}))
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems.extend(_sentence(prefix, detail) for detail in details if unread.isdisjoint(detail["loc"][:1]))
    if problems:
        raise SettingsError(problems)
    return settings


def _unknown(settings_class: type[BaseSettings], environ: "Mapping[str, str]") -> "Iterator[str]":
    prefix = settings_class.model_config.get("env_prefix", "")
    known = [*(prefix + name.upper() for name in settings_class.model_fields), *CLIENT_NAMES]
    others = tuple(other for other in SERVICE_PREFIXES if other != prefix)
    for name in sorted(environ):
        if name.upper().startswith(FAMILY) and name not in known and not name.startswith(others):
            yield f"{name} is not known{nearest(name.upper(), known, common=FAMILY) or ': remove it'}"


def _sentence(prefix: str, detail: "ErrorDetails") -> str:
    words = in_words(detail)
    match [str(part) for part in detail["loc"]]:
        case []:
            return f"{prefix}…: {words}"
        case [field]:
            remedy = ": set it" if detail["type"] == "missing" else ""
            return f"{prefix}{field.upper()} {words}{remedy}"
        case [field, *path, "[key]"]:
            return f"{prefix}{field.upper()}: the name `{'.'.join(path)}` {words}"
        case [field, *path]:
            return f"{prefix}{field.upper()}: `{'.'.join(path)}` {words}"
    raise AssertionError("a list has no other shape")
