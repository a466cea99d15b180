"""What the proxy counts, and how Prometheus reads it.

Counting is plain arithmetic in the event loop's one thread, a quarter of a microsecond a request; prometheus-client is
needed at a scrape only: it reads the numbers, adds those of the process, and writes the text. Its own counters lock
and cost ten times as much. No label holds what a client sends.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS_SECONDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
_BOUNDS: Final = (*map(str, BUCKETS_SECONDS), "+Inf")
_CLASSES: Final = ("none", *(f"{first}xx" for first in range(1, 10)))
_USUAL_CLASSES: Final = 6
"""These are shown at 0 too, so that a rate sees their first one."""


class Traffic:
    """What passed between clients and one side of the proxy."""

    __slots__ = (
        "_answers",
        "_duration_seconds",
        "_durations",
        "open_exchanges",
        "open_tunnels",
        "received_bytes",
        "sent_bytes",
    )

    def __init__(self) -> None:
        self.open_exchanges = self.open_tunnels = 0
        self.received_bytes = self.sent_bytes = 0
        """Bodies and tunnels, from clients and to clients; may be added to while they pass."""
        self._answers = [0] * len(_CLASSES)
        self._durations = [0] * len(_BOUNDS)
        self._duration_seconds = 0.0

    def began(self) -> None:
        """An exchange began; it is open until `ended`."""
        self.open_exchanges += 1

    def ended(self, status: int, seconds: float, received_bytes: int = 0, sent_bytes: int = 0) -> None:
        """An exchange ended, however. One that became a tunnel ends with 101, when the tunnel opens.

        Args:
            status: 100 to 999, as the client got it; 0 where it got none.
            seconds: from the request's head to the end of the answer.
            received_bytes: of the request's body, where not added already.
            sent_bytes: of the answer's body, where not added already.
        """
        self.open_exchanges -= 1
        self.received_bytes += received_bytes
        self.sent_bytes += sent_bytes
        self._answers[status // 100] += 1
        self._durations[bisect_left(BUCKETS_SECONDS, seconds)] += 1
        self._duration_seconds += seconds

    def requests(self) -> Iterator[tuple[str, int]]:
        """How many ended, for each class of status: `2xx`, or `none`."""
        for number, (status, count) in enumerate(zip(_CLASSES, self._answers, strict=True)):
            if count or number < _USUAL_CLASSES:
                yield status, count

    def durations(self) -> tuple[list[tuple[str, float]], float]:
        """How many took at most so long, for each bucket, and the sum in seconds."""
        return list(zip(_BOUNDS, map(float, accumulate(self._durations)), strict=True)), self._duration_seconds


class Metrics(Collector):
    """The counts of one proxy."""

    def __init__(self) -> None:
        self.agent, self.dashboard, self.webui, self.itself = Traffic(), Traffic(), Traffic(), Traffic()
        self.refusals: Counter[str] = Counter()
        """The proxy's own errors by `code`: words from errors.py, nothing that a client chooses."""
        self.wrong_credentials = 0
        self.lockouts = 0
        """Each `locked_out` counts: it begins a lockout or prolongs it."""
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def render(self) -> tuple[bytes, bytes]:
        """Content type and body for `/-/metrics`, in Prometheus' text format."""
        return CONTENT_TYPE_PLAIN_0_0_4.encode(), generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What prometheus-client asks for at a scrape."""
        requests = CounterMetricFamily(
            "switchboard_proxy_requests", "Exchanges that ended, by class of status.", labels=("side", "status")
        )
        durations = HistogramMetricFamily(
            "switchboard_proxy_request_duration_seconds",
            "From a request's head to the end of its answer.",
            labels=("side",),
        )
        received = CounterMetricFamily(
            "switchboard_proxy_received_bytes", "Bodies and tunnels, from clients.", labels=("side",)
        )
        sent = CounterMetricFamily("switchboard_proxy_sent_bytes", "Bodies and tunnels, to clients.", labels=("side",))
        exchanges = GaugeMetricFamily("switchboard_proxy_open_exchanges", "Exchanges that run now.", labels=("side",))
        tunnels = GaugeMetricFamily("switchboard_proxy_open_tunnels", "WebSockets that run now.", labels=("side",))
        for side in ("agent", "dashboard", "webui", "itself"):
            traffic: Traffic = getattr(self, side)
            for status, count in traffic.requests():
                requests.add_metric((side, status), count)
            durations.add_metric((side,), *traffic.durations())
            received.add_metric((side,), traffic.received_bytes)
            sent.add_metric((side,), traffic.sent_bytes)
            exchanges.add_metric((side,), traffic.open_exchanges)
            tunnels.add_metric((side,), traffic.open_tunnels)
        refusals = CounterMetricFamily(
            "switchboard_proxy_refusals", "Answers of the proxy's own that are errors.", labels=("code",)
        )
        for code, count in self.refusals.items():
            refusals.add_metric((code,), count)
        yield from (requests, durations, received, sent, exchanges, tunnels, refusals)
        yield CounterMetricFamily(
            "switchboard_proxy_wrong_credentials", "Credentials that were wrong.", value=self.wrong_credentials
        )
        yield CounterMetricFamily(
            "switchboard_proxy_lockouts", "Wrong credentials that began or prolonged a lockout.", value=self.lockouts
        )
