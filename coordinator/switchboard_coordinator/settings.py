"""What an operator can change about one coordinator, beside its peers."""

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, IPvAnyAddress
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK = IPv4Address("127.0.0.1")


class CoordinatorSettings(BaseSettings):
    """The environment of one coordinator: names are these in capitals, after `SWITCHBOARD_COORDINATOR_`."""

    model_config = SettingsConfigDict(env_prefix="SWITCHBOARD_COORDINATOR_", frozen=True)

    listen_address: IPvAnyAddress
    """The machine's tailnet address, or one of loopback; anything else needs `allow_untrusted_bind`."""
    port: Annotated[int, Field(ge=1, le=65535)] = 9120
    allow_untrusted_bind: bool = False
    also_on_loopback: bool = False
    """Answers at 127.0.0.1 too, at the same port, and does so while the tailnet is not there yet."""
    peers_file: Path = Path("/etc/switchboard/peers.yaml")
    secrets_folder: Path = Path("/run/switchboard/secrets")
    """Holds the peers' password files and `consumers`."""
    database_file: Path = Path("/var/lib/switchboard/switchboard.db")
    """Keys, turns and the audit log, as SQLite; its folder must be there and be written to."""
    journal: Literal["on", "off"] = "on"
    """`off` keeps no text of any turn: then there is no resume, no detach and no Idempotency-Key."""
    journal_days: Annotated[float, Field(gt=0)] = 30.0
    """Turns that ended longer ago are deleted."""
    journal_megabytes: Annotated[int, Field(ge=1)] = 2048
    """The oldest turns are deleted where the database holds more."""
    drain_seconds: Annotated[float, Field(gt=0)] = 20.0
    """How long running answers may go on after SIGTERM; a container's stop_grace_period must be longer."""

    @property
    def addresses(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Where it listens."""
        is_there_anyway = self.listen_address.is_unspecified or self.listen_address == LOOPBACK
        return (self.listen_address, *(() if is_there_anyway or not self.also_on_loopback else (LOOPBACK,)))

    @property
    def consumers_file(self) -> Path:
        """Names the consumers and the digests of their keys."""
        return self.secrets_folder / "consumers"
