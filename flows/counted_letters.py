"""A flow's writer that counts its dead letters by reason, and the `/metrics` of its process where they are shown."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from contracts.errors import SettingsError
from eventlog.contract import DeadLetter, LogWriter, Position, Record, Topic
from eventlog.open_log import open_writer
from flows.settings import FlowOptions, FlowSettings

if TYPE_CHECKING:
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

PORTS_TRIED = 64
"""Processes of flows on one machine that find a port each."""

_letters: Counter[tuple[str, str]] = Counter()
"""Dead letters that this process wrote, by flow and reason."""
_served: list[int] = []
"""The port that this process serves on, once it does."""


class CountedWriter:
    """LogWriter that counts what it wrote of dead letters; the rest is the other writer's."""

    def __init__(self, flow: str, writer: LogWriter) -> None:
        self._flow, self._writer = flow, writer

    def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        return self._writer.append(topic, records)

    def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """As LogWriter says. A letter that is written again, after a death or an outage, counts again."""
        self._writer.dead_letter(letters)
        _letters.update((self._flow, letter.reason) for letter in letters)

    def close(self) -> None:
        self._writer.close()


def open_counted_writer(flow: str, settings: FlowSettings) -> LogWriter:
    """Open the log as `open_writer` does; what is written of dead letters is counted and, by setting, shown."""
    serve_metrics(flow, settings.flow)
    return CountedWriter(flow, open_writer(settings.log, settings.redis))


def serve_metrics(flow: str, options: FlowOptions) -> int | None:
    """Serve this process's `/metrics` on the first free port from `metrics_port` on, once, and return which; None where
    that is 0, or (said in the log) 64 ports are in use. Raises SettingsError for an address that cannot be listened on.
    """
    if not options.metrics_port:
        return None
    if _served:
        return _served[0]
    from prometheus_client import REGISTRY, start_http_server  # takes long to import: only who serves pays

    last = min(options.metrics_port + PORTS_TRIED - 1, 65_535)
    for port in range(options.metrics_port, last + 1):
        try:
            start_http_server(port, options.metrics_host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise _no_port(options, error) from error
        REGISTRY.register(_Letters())
        _served.append(port)
        log.warning("metrics of the %s flow: http://%s:%d/metrics", flow, options.metrics_host, port)
        return port
    log.warning("no metrics of the %s flow: ports %d to %d are in use", flow, options.metrics_port, last)
    return None


class _Letters:
    """What prometheus_client collects."""

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        about = "Dead letters that this process wrote, by reason."
        family = CounterMetricFamily("nextclick_flow_dead_letters", about, labels=["flow", "reason"])
        for labels, count in _letters.copy().items():
            family.add_metric(labels, count)
        yield family


def _no_port(options: FlowOptions, why: OSError) -> SettingsError:
    return SettingsError(
        f"NEXTCLICK_FLOW__METRICS_PORT, NEXTCLICK_FLOW__METRICS_HOST: expected a port that can be listened on from "
        f"{options.metrics_host}:{options.metrics_port} on, got none: {why}"
    )
