"""Prometheus metrics: each worker counts in files of its own, the parent process adds them up when it is asked.

To be imported only where metrics are wanted, and after PROMETHEUS_MULTIPROC_DIR is set: prometheus_client chooses
where it counts while it is imported.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from service.telemetry.request_log import RequestRecord

SAMPLE_SECONDS = 0.2
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

REQUESTS = Counter("http_requests", "Requests; 499 where the client left first.", ["method", "route", "status"])
DURATION = Histogram("http_request_duration_seconds", "From arrival to answer.", ["route"], buckets=BUCKETS)
IN_USE = Gauge("database_connections_in_use", "Connections that run a statement.", multiprocess_mode="livesum")
WAITING = Gauge("database_requests_waiting", "Requests that wait for a connection.", multiprocess_mode="livesum")
HASHING = Gauge("bcrypt_queue", "Passwords being hashed or waiting for it.", multiprocess_mode="livesum")


def count(records: list[RequestRecord]) -> None:
    """Counts requests by route, never by path: a client must not be able to add time series without end."""
    for record in records:
        requests, duration = _of(record.method, record.route or "none", record.status)
        requests.inc()
        duration.observe(record.seconds)


@functools.cache
def _of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Finding them by their labels costs more than counting."""
    return REQUESTS.labels(method, route, status), DURATION.labels(route)


def start_gauge_sampling(readings: Mapping[Gauge, Callable[[], float]]) -> None:
    """Sets each gauge to its reading, now and every SAMPLE_SECONDS."""
    for gauge, read in readings.items():
        gauge.set(read())
    asyncio.get_running_loop().call_later(SAMPLE_SECONDS, start_gauge_sampling, readings)


def serve(host: str, port: int) -> None:
    """Answers collectors from a thread, until the process ends: with the sums over the workers, counters of all that
    ever were and gauges of those that are not known to have ended. Raises OSError where the port does not do."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(port, host, registry)


def ended(pid: int | None) -> None:
    """Takes a worker's gauges out of the sums."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]
