"""What is counted is what Prometheus reads, under the names that the documents promise."""

import time

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from switchboard_proxy.metrics import BUCKETS_SECONDS, Metrics

SIDES = ("agent", "dashboard", "webui", "itself")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(metrics: Metrics) -> Samples:
    """Every sample, read by the library's own reader: name without prefix, labels in order."""
    _, body = metrics.render()
    return {
        (sample.name.removeprefix("switchboard_proxy_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_a_request_is_counted_at_its_side_with_its_class_its_time_and_its_bytes() -> None:
    metrics = Metrics()
    metrics.agent.began()
    assert scraped(metrics)["open_exchanges", (("side", "agent"),)] == 1
    metrics.agent.ended(200, 0.02, 300, 4_000)
    samples, side = scraped(metrics), (("side", "agent"),)
    assert samples["requests_total", (*side, ("status", "2xx"))] == 1
    assert samples["open_exchanges", side] == 0
    assert samples["received_bytes_total", side] == 300
    assert samples["sent_bytes_total", side] == 4_000
    assert samples["request_duration_seconds_count", side] == 1
    assert samples["request_duration_seconds_sum", side] == 0.02
    assert samples["request_duration_seconds_bucket", (("le", "0.01"), *side)] == 0
    assert samples["request_duration_seconds_bucket", (("le", "0.025"), *side)] == 1
    assert samples["request_duration_seconds_bucket", (("le", "+Inf"), *side)] == 1
    assert not any(value for (name, labels), value in samples.items() if {side for _, side in labels} & {*SIDES[1:]})


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(
    ("status", "shown"), [(0, "none"), (101, "1xx"), (204, "2xx"), (304, "3xx"), (429, "4xx"), (599, "5xx")]
)
def test_each_class_of_status_of_each_side_is_there_at_zero_and_counts(side: str, status: int, shown: str) -> None:
    metrics = Metrics()
    key = ("requests_total", (("side", side), ("status", shown)))
    assert scraped(metrics)[key] == 0
    getattr(metrics, side).ended(status, 0.0)
    assert scraped(metrics)[key] == 1


def test_a_status_that_nobody_knows_is_counted_too() -> None:
    metrics = Metrics()
    metrics.dashboard.ended(999, 0.0)
    assert scraped(metrics)["requests_total", (("side", "dashboard"), ("status", "9xx"))] == 1


def test_a_bucket_holds_what_took_exactly_as_long_and_the_last_one_all() -> None:
    metrics = Metrics()
    for seconds in (*BUCKETS_SECONDS, 0.0, 601.0):
        metrics.webui.ended(200, seconds)
    samples, side = scraped(metrics), ("side", "webui")
    below = [samples["request_duration_seconds_bucket", (("le", str(bound)), side)] for bound in BUCKETS_SECONDS]
    assert below == [float(number) for number in range(2, len(BUCKETS_SECONDS) + 2)]
    assert samples["request_duration_seconds_bucket", (("le", "+Inf"), side)] == len(BUCKETS_SECONDS) + 2
    assert samples["request_duration_seconds_sum", (side,)] == pytest.approx(sum(BUCKETS_SECONDS) + 601)


def test_tunnels_refusals_wrong_credentials_and_lockouts_are_counted() -> None:
    metrics = Metrics()
    assert scraped(metrics)["wrong_credentials_total", ()] == 0
    metrics.dashboard.open_tunnels += 1
    metrics.refusals["host_refused"] += 1
    metrics.refusals["locked_out"] += 2
    metrics.wrong_credentials += 3
    metrics.lockouts += 2
    samples = scraped(metrics)
    assert samples["open_tunnels", (("side", "dashboard"),)] == 1
    assert samples["refusals_total", (("code", "host_refused"),)] == 1
    assert samples["refusals_total", (("code", "locked_out"),)] == 2
    assert samples["wrong_credentials_total", ()] == 3
    assert samples["lockouts_total", ()] == 2


def test_the_process_is_measured_too() -> None:
    samples = scraped(Metrics())
    assert samples["process_resident_memory_bytes", ()] > 1_000_000
    assert samples["process_open_fds", ()] > 2


def test_every_name_of_ours_has_the_prefix_and_a_text_and_no_two_proxies_share_a_count() -> None:
    one, other = Metrics(), Metrics()
    one.lockouts += 1
    assert scraped(other)["lockouts_total", ()] == 0
    ours = list(one.collect())
    assert all(family.name.startswith("switchboard_proxy_") and family.documentation.endswith(".") for family in ours)
    assert not {family.name for family in REGISTRY.collect()} & {family.name for family in ours}


def test_it_is_prometheus_text() -> None:
    content_type, body = Metrics().render()
    assert content_type == b"text/plain; version=0.0.4; charset=utf-8"
    assert b"# TYPE switchboard_proxy_request_duration_seconds histogram\n" in body
    assert b"# TYPE switchboard_proxy_requests_total counter\n" in body


def test_counting_a_request_costs_microseconds_at_most() -> None:
    traffic, rounds, calls = Metrics().agent, [], 20_000
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(calls):
            traffic.began()
            traffic.ended(200, 0.02, 300, 4_000)
        rounds.append(time.perf_counter() - began)
    assert min(rounds) / calls < 10e-6  # 0.25 µs on the machine where it was written
