"""How processes are looked at: settings of metrics, logs and traces; and the port on which a process that is no gateway
serves its numbers.
"""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pydantic import Field

from contracts.backends import Group
from contracts.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

PORTS_TRIED: Final = 64
"""Processes of one machine that find a port each."""
_served: list[int] = []
"""The port that this process serves on, once it does."""


class MetricsOptions(Group):
    port: int = Field(
        default=0,
        ge=0,
        le=65_535,
        description="Each process but the gateways serves `/metrics` on the first free port from this one on; 0: none "
        "does. A gateway serves its own on its port.",
    )
    host: str = Field(default="127.0.0.1", description="Address that these `/metrics` listen on.")


class LogsOptions(Group):
    format: Literal["text", "json"] = Field(
        default="text",
        description="Lines of every process's log: text for people, or one JSON object a line, with the ids of the "
        "request that a gateway was at.",
    )


class TracingOptions(Group):
    endpoint: str = Field(
        default="",
        description="Where traces go, by OTLP over HTTP: http://127.0.0.1:4318/v1/traces. Empty: nothing is traced. "
        "Needs the `otel` extra.",
    )
    share: float = Field(default=0.01, ge=0, le=1, description="Share of requests, and of events, that are traced.")


class Collector(Protocol):
    """What prometheus_client collects, at each scrape, in a thread of its own."""

    def collect(self) -> Iterable[Metric]: ...


def serve_metrics(process: str, options: MetricsOptions, *collectors: Collector, named: str = "METRICS") -> int | None:
    """Serve this process's `/metrics` on the first free port from `options.port` on, once, and return which; None where
    that is 0, or (said in the log) 64 ports are in use. Raises SettingsError, which names the settings' group `named`,
    for an address that cannot be listened on.
    """
    if not options.port:
        return None
    if _served:
        return _served[0]
    from prometheus_client import REGISTRY, start_http_server  # takes long to import: only who serves pays

    last = min(options.port + PORTS_TRIED - 1, 65_535)
    for port in range(options.port, last + 1):
        try:
            start_http_server(port, options.host)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise _no_port(options, error, named) from error
        for collector in (_Info(process), *collectors):
            REGISTRY.register(collector)
        _served.append(port)
        log.warning("metrics of %s: http://%s:%d/metrics", process, options.host, port)
        return port
    log.warning("no metrics of %s: ports %d to %d are in use", process, options.port, last)
    return None


class _Info:
    """Which process answers on this port: several of a machine take the first that are free."""

    def __init__(self, process: str) -> None:
        self._process = process

    def collect(self) -> Iterable[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        family = GaugeMetricFamily("nextclick_process_info", "1; which process answers here.", labels=["process"])
        family.add_metric([self._process], 1)
        yield family


def _no_port(options: MetricsOptions, why: OSError, named: str) -> SettingsError:
    port, host = ("METRICS_PORT", "METRICS_HOST") if named != "METRICS" else ("PORT", "HOST")
    return SettingsError(
        f"NEXTCLICK_{named}__{port}, NEXTCLICK_{named}__{host}: expected a port that can be listened on from "
        f"{options.host}:{options.port} on, got none: {why}"
    )
