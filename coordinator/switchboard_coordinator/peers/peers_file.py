"""The peers that an operator names in `peers.yaml`: what may stand there, and every mistake with its line and key."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    ValidationError,
)
from pydantic_core import CoreSchema, core_schema
from switchboard_service.mistakes import MistakesFound, in_words, nearest
from switchboard_service.secret_file import SecretFile

from switchboard_coordinator.address import (
    DEFAULT_PROFILE,
    FLEET,
    MODES,
    NAME_PATTERN,
    Address,
    AddressError,
    is_name,
    parse_target,
)

from .yaml_lines import Document, Path, YamlError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_HOST_LABEL = "(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_NO_OTHER_NAMES: dict[str, JsonValue] = {"additionalProperties": False}
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(\.{_HOST_LABEL})*")


class PeersError(MistakesFound):
    """The peers file cannot be used; each problem names line and key."""


@dataclass(frozen=True)
class _Name:
    """Marks a text as a name, other than those that are reserved for this reason."""

    reserved: tuple[str, ...] = ()
    reason: str = ""

    def _checked(self, value: str) -> str:
        if not is_name(value):
            raise ValueError("is no name: it takes lower-case letters, digits and hyphens, and no hyphen first")
        if value in self.reserved:
            raise ValueError(f"is reserved ({self.reason}): choose another name")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reserved = f"(?!({'|'.join(self.reserved)})$)" if self.reserved else ""
        return {**handler(schema), "pattern": f"^{reserved}{NAME_PATTERN}$"}


GroupName = Annotated[str, _Name((FLEET,), "the group of all")]
PeerName = Annotated[str, _Name((FLEET,), "the group of all")]
ProfileName = Annotated[str, _Name(MODES, "it is a mode")]


def _host(value: str) -> str:
    if _is_address(value) if ":" in value or value.rpartition(".")[2].isdigit() else _HOST_NAME.fullmatch(value):
        return value
    raise ValueError("must be an IP address or a host name alone, such as 100.64.0.12 or nas.example.net")


def _is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names a capability twice: name each once")
    return values


def _chair(value: object) -> Address:
    try:
        target = parse_target(value) if isinstance(value, str) else None
    except AddressError:
        target = None
    if not isinstance(target, Address):
        raise ValueError("must be one address, such as default@nas")  # noqa: TRY004 - pydantic takes no TypeError
    return target


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProfileEntry(_Entry):
    """One profile of a peer."""

    capabilities: Annotated[
        tuple[GroupName, ...],
        AfterValidator(_once),
        Field(description="Labels that you give this address; each is a group that can be asked, such as all@gpu."),
    ] = ()


class PeerEntry(_Entry):
    """One machine that runs hermes-agent behind a proxy."""

    host: Annotated[str, AfterValidator(_host), Field(description="The proxy's tailnet address or host name.")]
    port: Annotated[int, Field(strict=True, ge=1, le=65535, description="The proxy's port.")] = 9121
    tls: Annotated[
        bool,
        Field(
            strict=True,
            description="Whether there is HTTPS there, as Tailscale Serve puts it before a proxy: `host` is then the "
            "name in its certificate.",
        ),
    ] = False
    user: Annotated[str, Field(pattern=r"^[!-9;-~]+$", description="The user that the proxy takes; no colon.")] = (
        "coordinator"
    )
    password_file: Annotated[
        str, Field(min_length=1, description="Holds the proxy's password; relative to the secrets folder.")
    ]
    max_turns: Annotated[int, Field(strict=True, ge=1, description="Turns that may run on this peer at once.")] = 4
    transport: Annotated[
        Literal["chat", "runs"],
        Field(
            description="How its agent is asked: `runs` can be stopped within a second, survives the coordinator and "
            "carries approvals; `chat` is passed on byte by byte."
        ),
    ] = "chat"
    profiles: Annotated[
        Mapping[
            ProfileName,
            Annotated[
                ProfileEntry,
                BeforeValidator(
                    lambda value: {} if value is None else value, json_schema_input_type=ProfileEntry | None
                ),
            ],
        ],
        Field(
            default_factory=lambda: MappingProxyType({DEFAULT_PROFILE: ProfileEntry()}),
            min_length=1,
            description="The Hermes profiles that its proxy leads to; `default` alone where none is named.",
            json_schema_extra=_NO_OTHER_NAMES,
        ),
        AfterValidator(MappingProxyType),
    ]

    @property
    def authority(self) -> str:
        """Host and port as a URL and a Host header write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def password(self, secrets_folder: FilePath) -> SecretFile:
        """The file that holds the password of this peer's Basic pair."""
        return SecretFile(secrets_folder / self.password_file)


class GroupEntry(_Entry):
    """How a group is asked."""

    chair: Annotated[
        Address,
        BeforeValidator(_chair, json_schema_input_type=str),
        Field(description="The address that makes one reply of everybody's answers when a council is asked."),
    ]


class PeersFile(_Entry):
    """The peers of a coordinator."""

    peers: Annotated[
        Mapping[PeerName, PeerEntry],
        Field(min_length=1, description="Each machine under its name.", json_schema_extra=_NO_OTHER_NAMES),
        AfterValidator(MappingProxyType),
    ]
    groups: Annotated[
        Mapping[Annotated[str, _Name()], GroupEntry],
        Field(
            default_factory=lambda: MappingProxyType({}),
            description="What is said of a group as a whole: of `fleet`, or of a capability.",
            json_schema_extra=_NO_OTHER_NAMES,
        ),
        AfterValidator(MappingProxyType),
    ]

    @property
    def chairs(self) -> dict[str, Address]:
        """Each group's chair, where the operator names one."""
        return {name: group.chair for name, group in self.groups.items()}

    def mistakes(self) -> Iterator[tuple[Path, str]]:
        """What no entry shows alone: where it stands, and what is wrong with it."""
        places: dict[str, str] = {}
        for name, peer in self.peers.items():
            other = places.setdefault(peer.authority.lower(), name)
            if other != name:
                yield ("peers", name, "host"), f"is {peer.authority}, where {other} is already: each peer has its own"
            for profile, entry in peer.profiles.items():
                for index, capability in enumerate(entry.capabilities):
                    if capability in self.peers:
                        place = ("peers", name, "profiles", profile, "capabilities", index)
                        yield place, f"is {capability}, which is a peer's name: choose another one for the group"
        yield from self._mistakes_in_groups()

    def _mistakes_in_groups(self) -> Iterator[tuple[Path, str]]:
        profiles = {
            Address(profile, name): told for name, peer in self.peers.items() for profile, told in peer.profiles.items()
        }
        known = {FLEET}.union(*(told.capabilities for told in profiles.values()))
        for name, group in self.groups.items():
            if name not in known:
                yield ("groups", name), f"is no group: no profile has the capability {name}"
            if group.chair not in profiles:
                yield ("groups", name, "chair"), f"is {group.chair}, which no peer has"


def read_peers(file: FilePath) -> PeersFile:
    """The peers that a YAML file names.

    Raises:
        PeersError: with all mistakes; each says file, line and key.
    """
    try:
        return parse_peers(file.read_bytes().decode(), str(file))
    except OSError as error:
        raise PeersError([f"{file} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise PeersError([f"{file} is not UTF-8 text"]) from None


def parse_peers(text: str, name: str) -> PeersFile:
    """The peers in this text; `name` is what its mistakes call it.

    Raises:
        PeersError: see `read_peers`.
    """
    try:
        document = Document(text)
    except YamlError as error:
        raise PeersError([f"{name} line {error.line}: {error.words}"]) from None
    found: list[tuple[int, str]] = [
        (line, f"`{_key(path)}` is there already: name each once") for path, line in document.repeated
    ]
    peers: PeersFile | None = None
    try:
        peers = PeersFile.model_validate({} if document.value is None else document.value)
    except ValidationError as error:
        for detail in error.errors(include_url=False, include_input=False):
            path = tuple(part for part in detail["loc"] if part != "[key]")
            found.append((document.line(path), _sentence(path, detail)))
    else:
        found += [(document.line(path), f"`{_key(path)}` {words}") for path, words in peers.mistakes()]
    if peers is None or found:
        raise PeersError(f"{name} line {line}: {words}" for line, words in sorted(found))
    return peers


_MODELS: dict[tuple[str, int], type[_Entry]] = {
    ("peers", 3): PeerEntry,
    ("peers", 5): ProfileEntry,
    ("groups", 3): GroupEntry,
}
"""Whose key it is, by where its path begins and how long it is."""


def _key(path: Path) -> str:
    return ".".join(map(str, path)) or "the file"


def _sentence(path: Path, detail: "ErrorDetails") -> str:
    if detail["type"] != "extra_forbidden":
        return f"`{_key(path)}` {in_words(detail)}"
    known = _MODELS.get((str(path[0]), len(path)), PeersFile).model_fields
    remedy = nearest(str(path[-1]), known) or f"; there are {', '.join(known)}"
    return f"`{_key(path)}` is not known{remedy}"


def schema() -> str:
    """The JSON Schema of a peers file, as it is published in `docs/peers.schema.json`."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The peers of a Hermes Switchboard"}
    return json.dumps({**PeersFile.model_json_schema(), **head}, indent=2) + "\n"
