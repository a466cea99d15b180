"""The loopback ports behind the proxy, with what each request to them needs."""

from dataclasses import dataclass
from typing import Self

from switchboard_relay import Pool

from .settings import ProxySettings

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Upstream:
    """One place that answers: a pool, its Host, and for API servers the Bearer and the path prefix."""

    pool: Pool
    host: bytes
    prefix: bytes = b""
    bearer: bytes | None = None


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Everything on this machine that the proxy leads to."""

    dashboard: Upstream
    profiles: dict[str, Upstream]

    @classmethod
    def of(cls, settings: ProxySettings) -> Self:
        """Read the keys and lay a pool for each port.

        Raises:
            SecretError: a key file is not fit for use.
        """
        pools: dict[int, Pool] = {}

        def upstream(port: int, prefix: str = "", bearer: bytes | None = None) -> Upstream:
            pool = pools.setdefault(port, Pool(LOOPBACK, port))
            return Upstream(pool, f"{LOOPBACK}:{port}".encode(), prefix.encode(), bearer)

        return cls(
            dashboard=upstream(settings.dashboard_port),
            profiles={
                name: upstream(profile.port, profile.prefix, b"Bearer " + settings.key(name).read().encode())
                for name, profile in settings.profiles.items()
            },
        )

    def close(self) -> None:
        """Close idle connections."""
        for upstream in (self.dashboard, *self.profiles.values()):
            upstream.pool.close()
