"""Prometheus metrics endpoint of a server, on the loopback address only."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedsafe.deployment.server.status import RunStatus, read_status
from fedsafe.errors import FedSafeError, LaunchError

HOST = "127.0.0.1"


def serve_metrics(directory: Path, port: int) -> None:
    """Serve a run's figures in the background, until this process ends.

    Raises:
        LaunchError: The port cannot be listened on.
    """
    registry = CollectorRegistry()
    registry.register(RunCollector(directory))
    try:
        start_http_server(port, HOST, registry)
    except (OSError, OverflowError) as error:
        raise LaunchError(
            f"--metrics {port}: {HOST}:{port} cannot be listened on: {error}. Choose another port."
        ) from None


class RunCollector(Collector):
    """Prometheus collector that reads the run directory at each scrape."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        """Yield every figure; none while the run has left nothing to read."""
        try:
            status = read_status(self._directory)
        except FedSafeError:
            return
        yield from _of_run(status)
        yield from _of_clients(status)

    def describe(self) -> Iterable[Metric]:
        """Describe nothing in advance: the directory may still be empty."""
        return []


def _of_run(status: RunStatus) -> Iterator[Metric]:
    figures = (
        ("running", "Whether the run is under way.", status.state == "running"),
        ("round", "Round under way, or the last that ended.", status.round),
        ("rounds", "Rounds of a federation.", status.rounds),
        ("clients_connected", "Clients that are online.", status.connected),
        ("clients_awaited", "Clients whose replies the round waits for.", len(status.waiting)),
        ("round_seconds", "Time of the last complete round.", status.round_seconds),
        ("certificate_days", "Days until the certificate ends.", status.certificate_days),
    )
    for name, text, value in figures:
        if value is not None:
            yield GaugeMetricFamily(f"fedsafe_{name}", text, value=float(value))


def _of_clients(status: RunStatus) -> Iterator[Metric]:
    labels = ["client", "name"]
    online = GaugeMetricFamily("fedsafe_client_connected", "Whether it is online.", labels=labels)
    awaited = GaugeMetricFamily("fedsafe_client_awaited", "Whether a round waits.", labels=labels)
    seen = GaugeMetricFamily("fedsafe_client_seen_timestamp_seconds", "Last sign.", labels=labels)
    replies = CounterMetricFamily(
        "fedsafe_client_replies", "Rounds by outcome.", labels=[*labels, "status"]
    )
    for one in status.clients:
        which = [str(one.client), one.name]
        if one.connected is not None:
            online.add_metric(which, float(one.connected))
        if one.seen is not None:
            seen.add_metric(which, one.seen)
        awaited.add_metric(which, float(one.client in status.waiting))
        for outcome, count in sorted(one.replies.items()):
            replies.add_metric([*which, outcome], count)
    yield from (online, awaited, seen, replies)
