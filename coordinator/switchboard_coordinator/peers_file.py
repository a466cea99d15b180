"""The peers that an operator names in `peers.yaml`: what may stand there, and every mistake with its line and key."""

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from switchboard_service.mistakes import MistakesFound

from .address import DEFAULT_PROFILE, FLEET, MODES, NAME_PATTERN, is_name

_HOST_LABEL = "(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(\.{_HOST_LABEL})*")


class PeersError(MistakesFound):
    """The peers file cannot be used; each problem names line and key."""


def _name(reserved: tuple[str, ...], reason: str) -> Any:
    """A type for names other than the reserved ones."""

    def checked(value: str) -> str:
        if not is_name(value):
            raise ValueError("is no name: it takes lower-case letters, digits and hyphens, and no hyphen first")
        if value in reserved:
            raise ValueError(f"is reserved ({reason}): choose another name")
        return value

    pattern = f"^(?!({'|'.join(reserved)})$){NAME_PATTERN}$"
    return Annotated[str, AfterValidator(checked), WithJsonSchema({"type": "string", "pattern": pattern})]


def _host(value: str) -> str:
    try:
        if ":" in value:
            IPv6Address(value)
        elif value.rpartition(".")[2].isdigit():
            IPv4Address(value)
        elif not _HOST_NAME.fullmatch(value):
            raise ValueError
    except ValueError:
        raise ValueError("must be an IP address or a host name alone, such as 100.64.0.12 or nas.example.net") from None
    return value


def _once(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("names a capability twice: name each once")
    return values


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ProfileEntry(_Entry):
    """One profile of a peer."""

    capabilities: Annotated[
        tuple[_name((FLEET,), "the group of all"), ...],  # type: ignore[misc]  # a type made at run time
        AfterValidator(_once),
        Field(description="Labels that you give this address; each is a group that can be asked, such as all@gpu."),
    ] = ()


class PeerEntry(_Entry):
    """One machine that runs hermes-agent behind a proxy."""

    host: Annotated[str, AfterValidator(_host), Field(description="The proxy's tailnet address or host name.")]
    port: Annotated[int, Field(strict=True, ge=1, le=65535, description="The proxy's port.")] = 9121
    user: Annotated[str, Field(pattern=r"^[!-9;-~]+$", description="The user that the proxy takes; no colon.")] = (
        "coordinator"
    )
    password_file: Annotated[
        str, Field(min_length=1, description="Holds the proxy's password; relative to the secrets folder.")
    ]
    max_turns: Annotated[int, Field(strict=True, ge=1, description="Turns that may run on this peer at once.")] = 4
    profiles: Annotated[
        Mapping[
            _name(MODES, "it is a mode"),  # type: ignore[misc]  # a type made at run time
            Annotated[
                ProfileEntry,
                BeforeValidator(
                    lambda value: {} if value is None else value, json_schema_input_type=ProfileEntry | None
                ),
            ],
        ],
        AfterValidator(MappingProxyType),
        Field(min_length=1, description="The Hermes profiles that its proxy leads to; `default` where there is one."),
    ] = MappingProxyType({DEFAULT_PROFILE: ProfileEntry()})

    @property
    def authority(self) -> str:
        """Host and port as an URL and a Host header write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class PeersFile(_Entry):
    """The peers of a coordinator."""

    peers: Annotated[
        Mapping[_name((FLEET,), "the group of all"), PeerEntry],  # type: ignore[misc]  # a type made at run time
        AfterValidator(MappingProxyType),
        Field(min_length=1, description="Each machine under its name."),
    ]
