"""What one agent is, and how it is doing: what a test may change while it runs."""

from dataclasses import dataclass

VERSION = "0.19.0"
KEEPALIVE_SECONDS = 30.0
SUBSCRIBE_SECONDS = 1.0


@dataclass
class Gateway:
    """One agent: its name, the profiles of its gateway, its limits, its health."""

    name: str
    key: str
    profiles: tuple[str, ...] = ("default",)
    multiplex: bool = False
    max_turns: int = 10
    """In flight at once; 0 is no limit."""
    keepalive_seconds: float = KEEPALIVE_SECONDS
    subscribe_seconds: float = SUBSCRIBE_SECONDS
    """How long a request for a run's events waits for a run that has none."""
    is_draining: bool = False
    """Refuses new turns with 503 `gateway_draining`."""
    is_degraded: bool = False
    """Says so in `/health/detailed`, which is 200 all the same."""

    def signature(self, profile: str) -> str:
        """How an answer of this profile begins."""
        return self.name if profile == "default" else f"{self.name}/{profile}"
