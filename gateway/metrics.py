"""The gateway's own numbers: histograms that cost under a microsecond to observe, and their Prometheus form.

`prometheus_client` writes the text; its own histograms take locks and label look-ups on each observation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import accumulate

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BOUNDS_S = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01),
    *(0.015, 0.02, 0.03, 0.05, 0.08, 0.1, 0.25, 0.5, 1.0, 2.5),
)
TEXT = "text/plain; version=0.0.4; charset=utf-8"

_TOGETHER = 200
"""Answers and their stages are counted by so many at once, and before anybody looks."""

Gauge = Callable[[], float]
Total = tuple[str, str, str]
"""Kind, of what, which."""


class Histogram:
    """Counts of observations, in seconds, by the buckets of BOUNDS_S."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.total_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Return (upper bound, cumulative count), as Prometheus wants them."""
        names = [*map(str, BOUNDS_S), "+Inf"]
        return list(zip(names, map(float, accumulate(self.counts)), strict=True))


class Metrics(Collector):
    """All numbers of one gateway process. Belongs to its event loop: no locks."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Histogram] = {}
        self.responses: Counter[tuple[str, int]] = Counter()
        self.stages: dict[str, Histogram] = {}
        self.events: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.degraded: Counter[str] = Counter()
        self.restarts: Counter[str] = Counter()
        self.stale = 0
        self.batches: Counter[str] = Counter()
        self.batched: Counter[str] = Counter()
        self._kept: list[tuple[str, int, float] | dict[str, int]] = []
        self.gauges: list[tuple[str, str, dict[str, str], Gauge]] = []
        self.totals: list[tuple[str, str, dict[str, str], Gauge]] = []
        self.others: list[Callable[[], Iterator[Metric]]] = []

    def answered(self, endpoint: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._keep((endpoint, status, seconds))

    def staged(self, timings_us: dict[str, int]) -> None:
        """Count the stages of a recommendation, which must not change any more."""
        self._keep(timings_us)

    def _keep(self, one: tuple[str, int, float] | dict[str, int]) -> None:
        """Put something aside until there is more: counted together it costs a third."""
        self._kept.append(one)
        if len(self._kept) >= _TOGETHER:
            self._count()

    def _count(self) -> None:
        kept, self._kept = self._kept, []
        for one in kept:
            if isinstance(one, dict):
                for stage, took_us in one.items():
                    _histogram(self.stages, stage).observe(took_us / 1e6)
            else:
                endpoint, status, seconds = one
                self.responses[endpoint, status] += 1
                _histogram(self.endpoints, endpoint).observe(seconds)

    def answers_of(self, endpoints: Collection[str]) -> int:
        """Return how many requests to some endpoints were answered."""
        self._count()
        return sum(n for (endpoint, _), n in self.responses.items() if endpoint in endpoints)

    def batch(self, name: str) -> Callable[[int], None]:
        """Return what a coalescer calls with the size of each batch."""

        def observe(size: int) -> None:
            self.batches[name] += 1
            self.batched[name] += size

        return observe

    def gauge(self, name: str, help_text: str, labels: dict[str, str], value: Gauge) -> None:
        """Show `value()` at each scrape."""
        self.gauges.append((name, help_text, labels, value))

    def total(self, name: str, help_text: str, labels: dict[str, str], value: Gauge) -> None:
        """Show `value()`, which only grows, at each scrape."""
        self.totals.append((name, help_text, labels, value))

    def collect(self) -> Iterator[Metric]:
        self._count()
        yield _histograms("request_seconds", "Time from the request's head to its answer.", "endpoint", self.endpoints)
        yield _histograms("stage_seconds", "Time of each stage of a recommendation.", "stage", self.stages)
        responses = CounterMetricFamily(f"{PREFIX}responses", "Answers by status.", labels=["endpoint", "status"])
        for (endpoint, status), n in self.responses.items():
            responses.add_metric([endpoint, str(status)], n)
        yield responses
        yield _counters("events", "Events by outcome: accepted, or why they were refused.", "outcome", self.events)
        yield _counters("dead_letters", "Dead letters that this process wrote, by reason.", "reason", self.dead_letters)
        yield _counters("degraded", "Recommendation answers that left something out.", "what", self.degraded)
        yield _counters("restarts", "Background tasks that failed and were started again.", "task", self.restarts)
        yield CounterMetricFamily(f"{PREFIX}stale", "Answers given before `after` was applied.", value=self.stale)
        yield _counters("batches", "Batches of coalesced calls.", "batch", self.batches)
        yield _counters("batched", "Calls served in batches.", "batch", self.batched)
        yield from _families(self.gauges, GaugeMetricFamily)
        yield from _families(self.totals, CounterMetricFamily)
        for collect in self.others:
            yield from collect()

    def totals_by_kind(self) -> dict[Total, int]:
        """Return every count that only grows, by (kind, of what, which): what a look a moment later is compared with.
        Of times, `which` is the bucket.
        """
        self._count()
        found: dict[Total, int] = {("answer", one, str(status)): n for (one, status), n in self.responses.items()}
        for kind, histograms in (("took", self.endpoints), ("stage", self.stages)):
            for name, histogram in histograms.items():
                found |= {(kind, name, str(at)): n for at, n in enumerate(histogram.counts) if n}
        for kind, counts in (("event", self.events), ("degraded", self.degraded)):
            found |= {(kind, name, ""): n for name, n in counts.items()}
        found["stale", "", ""] = self.stale
        return found

    def exposition(self) -> bytes:
        """Return everything in Prometheus's text form."""
        return generate_latest(self._registry())

    def _registry(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        return registry


PREFIX = "nextclick_gateway_"
METRICS = web.AppKey("metrics", Metrics)


def _histogram(histograms: dict[str, Histogram], name: str) -> Histogram:
    found = histograms.get(name)
    if found is None:
        found = histograms[name] = Histogram()
    return found


def _histograms(name: str, help_text: str, label: str, histograms: dict[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, help_text, labels=[label])
    for value, histogram in histograms.items():
        family.add_metric([value], histogram.buckets(), histogram.total_s)
    return family


def _counters(name: str, help_text: str, label: str, counts: Counter[str]) -> Metric:
    family = CounterMetricFamily(PREFIX + name, help_text, labels=[label])
    for value, n in counts.items():
        family.add_metric([value], n)
    return family


def _families(
    entries: list[tuple[str, str, dict[str, str], Gauge]], kind: type[GaugeMetricFamily] | type[CounterMetricFamily]
) -> Iterator[Metric]:
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for name, help_text, labels, value in entries:
        family = families.setdefault(name, kind(PREFIX + name, help_text, labels=list(labels)))
        family.add_metric(list(labels.values()), value())
    yield from families.values()
