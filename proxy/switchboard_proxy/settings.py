"""What an operator can change about one proxy."""

import re
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from switchboard_service.secret_file import SecretFile

from .routes import DEFAULT_PROFILE

Port = Annotated[int, Field(ge=1, le=65535)]
ProfileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Profile(BaseModel):
    """Where the API server of one profile is, on this machine's loopback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: Port = 8642
    key_file: str = "api_server_key"
    """Holds the profile's API_SERVER_KEY; relative to the secrets folder."""
    prefix: Annotated[str, Field(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    """`/p/<name>` where several profiles share one gateway (`multiplex_profiles`), else empty."""


class ProxySettings(BaseSettings):
    """The environment of one proxy: names are these in capitals, after `SWITCHBOARD_PROXY_`."""

    model_config = SettingsConfigDict(env_prefix="SWITCHBOARD_PROXY_", frozen=True)

    listen_address: IPvAnyAddress
    """The machine's tailnet address, or one of loopback; anything else needs `allow_untrusted_bind`."""
    port: Port = 9121
    allow_untrusted_bind: bool = False
    user: Annotated[str, Field(pattern=r"^[^:\s]+$")] = "coordinator"
    secrets_folder: Path = Path("/run/switchboard/secrets")
    profiles: dict[ProfileName, Profile] = {DEFAULT_PROFILE: Profile()}
    """As JSON: {"default": {"port": 8642, "key_file": "api_server_key", "prefix": ""}, …}."""
    dashboard_port: Port = 9119
    webui_port: Port = 8787
    agent: bool = True
    """Whether API servers can be reached through the proxy; so for the two below."""
    dashboard: bool = True
    webui: bool = False
    names: Annotated[tuple[str, ...], NoDecode] = ()
    """Host names that the proxy may be called by, beside its address; comma separated."""
    public_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins whose pages may ask the proxy, beside its own: `https://nas.example.ts.net`; comma separated."""
    behind_serve: bool = False
    """Behind Tailscale Serve: listens on loopback, is called by its names on https, and Serve says who calls."""
    serve_port: Port = 443
    """The port of that https."""
    tailscale_socket: Path | None = None
    """Where tailscaled answers; with it every caller is asked for there and must be one of `allowed_callers`."""
    allowed_callers: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of nodes (`laptop`) or tags (`tag:switchboard`); comma separated."""
    max_body_bytes: Annotated[int, Field(gt=0)] = 10_000_000
    """As much as an agent's API server takes (hermes-agent 0.19.0)."""
    dashboard_max_body_bytes: Annotated[int, Field(gt=0)] = 110_000_000
    """The dashboard takes uploads of 100 MB (hermes-agent 0.19.0)."""
    head_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long a request's head may take from its first byte."""
    body_seconds: Annotated[float, Field(gt=0)] = 30.0
    """How far a request's body may fall behind 1,000 bytes a second."""
    idle_seconds: Annotated[float, Field(gt=0)] = 75.0
    """How long a connection may wait for its next request; clients keep idle ones for less."""
    drain_seconds: Annotated[float, Field(gt=0)] = 20.0
    """How long running answers may go on after SIGTERM; a container's stop_grace_period must be longer."""

    @field_validator("names", "public_origins", "allowed_callers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("names")
    @classmethod
    def _are_host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, name in enumerate(value, 1):
            if not name.isascii() or not name.replace("-", "").replace(".", "").isalnum():
                raise ValueError(
                    f"entry {number} is no host name: it takes letters, digits, dots and hyphens, and no port"
                )
        return value

    @field_validator("public_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, origin in enumerate(value, 1):
            if not re.fullmatch(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", origin):
                raise ValueError(
                    f"entry {number} is no origin: scheme, host in lower case and perhaps a port, without a path"
                )
        return value

    @model_validator(mode="after")
    def _fits_serve(self) -> Self:
        if self.behind_serve and not self.listen_address.is_loopback:
            raise ValueError("behind_serve takes a listen_address of loopback: anybody else could say who they are")
        if self.behind_serve and not self.names:
            raise ValueError("behind_serve needs names: the public name, such as nas.example.ts.net")
        return self

    @model_validator(mode="after")
    def _knows_whom_to_allow(self) -> Self:
        if (self.tailscale_socket is None) != (not self.allowed_callers):
            raise ValueError("tailscale_socket and allowed_callers go together: set both or none")
        return self

    @model_validator(mode="after")
    def _tell_profiles_apart(self) -> Self:
        if DEFAULT_PROFILE not in self.profiles:
            raise ValueError(f"profiles lacks `{DEFAULT_PROFILE}`, which /v1/ leads to")
        places: dict[tuple[int, str], str] = {}
        for name, profile in self.profiles.items():
            other = places.setdefault((profile.port, profile.prefix), name)
            if other != name:
                raise ValueError(
                    f"profiles {other} and {name} lead to the same place: give one a prefix or a port of its own"
                )
        return self

    @property
    def password(self) -> SecretFile:
        """The password of this peer's Basic pair."""
        return SecretFile(self.secrets_folder / "proxy_password")

    @property
    def next_password(self) -> SecretFile:
        """The password that is about to take its place; both count while the file is there."""
        return SecretFile(self.secrets_folder / "proxy_password_next")

    def key(self, profile: str) -> SecretFile:
        """The file that holds one profile's API_SERVER_KEY."""
        return SecretFile(self.secrets_folder / self.profiles[profile].key_file)
