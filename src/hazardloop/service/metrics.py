"""The figures for Prometheus, each defined once; names are promised to the outside."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from hazardloop.service import metrics_folder

MESSAGES_RECEIVED: Final = Counter(
    "hazardloop_messages_received_total", "Broker messages taken in by a worker."
)
READINGS_STORED: Final = Counter(
    "hazardloop_readings_stored_total", "Readings committed, each counted once."
)
READINGS_REJECTED: Final = Counter(
    "hazardloop_readings_rejected_total", "Readings or messages set aside.", ["reason"]
)
READINGS_DUPLICATE: Final = Counter(
    "hazardloop_readings_duplicate_total", "Readings delivered again that changed nothing."
)
BATCH_SECONDS: Final = Histogram(
    "hazardloop_batch_seconds",
    "Time a batch spent in a stage: decode, quality, rules, commit, annunciate.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
ALARM_LATENCY: Final = Histogram(
    "hazardloop_alarm_latency_seconds",
    "From receiving the message to the alarm being annunciated.",
    buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2, 5, 10, 30),
)
SPOOL_BYTES: Final = Gauge(
    "hazardloop_spool_bytes",
    "Kept on disk while the database is away.",
    multiprocess_mode="livesum",
)
SPOOL_READINGS: Final = Gauge(
    "hazardloop_spool_readings",
    "Readings kept on disk while the database is away.",
    multiprocess_mode="livesum",
)
SPOOL_OLDEST: Final = Gauge(
    "hazardloop_spool_oldest_seconds",
    "Age of the oldest that is kept on disk; 0 when there is none.",
    multiprocess_mode="livemax",
)
LEDGER_BROKEN: Final = Gauge(
    "hazardloop_ledger_broken",
    "1 when the ledger does not follow on its last checkpoint, 0 when it does.",
    multiprocess_mode="livemax",
)
LEDGER_CHECKPOINT: Final = Gauge(
    "hazardloop_ledger_checkpoint_timestamp_seconds",
    "When the last checkpoint of the ledger was signed.",
    multiprocess_mode="livemax",
)
SPOOL_FULL: Final = Gauge(
    "hazardloop_spool_full",
    "1 while the spool takes no more and nothing is acknowledged.",
    multiprocess_mode="livemax",
)
ACK_LAG: Final = Gauge(
    "hazardloop_ack_lag_messages",
    "Messages received and not yet acknowledged.",
    multiprocess_mode="livesum",
)
SESSIONS_LOST: Final = Gauge(
    "hazardloop_broker_sessions_lost",
    "Logins at which the broker had forgotten the worker's session: messages may be missing.",
    multiprocess_mode="livesum",
)
REPORTS_FAILED: Final = Counter(
    "hazardloop_reports_failed_total",
    "Tries to make a report that failed; each is tried again with the next turn of the calendar.",
)
HEARTBEAT_TIMESTAMP: Final = Gauge(
    "hazardloop_heartbeat_timestamp_seconds",
    "Unix time at which the last synthetic alarm that travelled the whole path was sent.",
    multiprocess_mode="max",
)


class _Once:
    """Lets a registry show metrics that were computed for this one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def serve(port: int) -> None:
    """Serves the figures of all processes that share our folder at `port`, path /metrics."""
    registry = REGISTRY
    if os.environ.get(metrics_folder.VARIABLE):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(port, registry=registry)


def totals() -> dict[str, float]:
    """Each figure by name, summed over its labels and the processes of this machine."""
    registry = REGISTRY
    if folder := os.environ.get(metrics_folder.VARIABLE):
        metrics_folder.forget_ended(Path(folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    found: dict[str, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def exposition(extra: Iterable[Metric]) -> bytes:
    """All figures of all processes of this service, with `extra`, in Prometheus text format."""
    registry = CollectorRegistry()
    registry.register(_Once(extra))
    folder = os.environ.get(metrics_folder.VARIABLE)
    if folder:
        metrics_folder.forget_ended(Path(folder))
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
    return generate_latest(registry) + generate_latest(REGISTRY)
