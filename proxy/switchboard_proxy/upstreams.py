"""The loopback ports behind the proxy, with what each request to them needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from switchboard_relay import Pool
from switchboard_service.watched import WatchedSecret

from .errors import AgentUnreachable, DashboardUnreachable, ProxyError, WebuiUnreachable
from .routes import Side
from .settings import ProxySettings

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """One place that answers: a pool, its Host, and for API servers the key and the path prefix."""

    side: Side
    pool: Pool
    host: bytes
    words: str
    """How it is called in a sentence."""
    unreachable: type[ProxyError]
    body_limit: int
    prefix: bytes = b""
    key: WatchedSecret | None = None

    @property
    def bearer(self) -> bytes | None:
        """The whole Authorization value, for an API server."""
        return b"Bearer " + str(self.key.value).encode() if self.key is not None else None


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Everything on this machine that the proxy leads to; None where it is switched off, no profiles likewise."""

    dashboard: Upstream | None
    webui: Upstream | None
    profiles: dict[str, Upstream]

    @classmethod
    def of(cls, settings: ProxySettings) -> Self:
        """Read the keys and lay a pool for each port.

        Raises:
            SecretError: a key file is not fit for use.
        """
        pools: dict[int, Pool] = {}

        def pool(port: int) -> Pool:
            return pools.setdefault(port, Pool(LOOPBACK, port))

        def page(side: Side, port: int, words: str, unreachable: type[ProxyError]) -> Upstream:
            return Upstream(side, pool(port), _host(port), words, unreachable, settings.dashboard_max_body_bytes)

        return cls(
            dashboard=page(Side.DASHBOARD, settings.dashboard_port, "the dashboard", DashboardUnreachable)
            if settings.dashboard
            else None,
            webui=page(Side.WEBUI, settings.webui_port, "the hermes-webui", WebuiUnreachable)
            if settings.webui
            else None,
            profiles={
                name: Upstream(
                    Side.AGENT,
                    pool(profile.port),
                    _host(profile.port),
                    f"the API server of profile {name}",
                    AgentUnreachable,
                    settings.max_body_bytes,
                    profile.prefix.encode(),
                    WatchedSecret(settings.key(name)),
                )
                for name, profile in settings.profiles.items()
                if settings.agent
            },
        )

    def __iter__(self) -> Iterator[Upstream]:
        yield from self.profiles.values()
        yield from (page for page in (self.dashboard, self.webui) if page is not None)

    def keys(self) -> list[WatchedSecret]:
        """The key files of all profiles."""
        return [upstream.key for upstream in self.profiles.values() if upstream.key is not None]

    def close(self) -> None:
        """Close idle connections."""
        for upstream in self:
            upstream.pool.close()


def _host(port: int) -> bytes:
    return f"{LOOPBACK}:{port}".encode()
