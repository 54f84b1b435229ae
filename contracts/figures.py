"""Numbers of a process that is no gateway, kept as plain values: who serves none pays for no library of metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.core import Metric


class Figure:
    """One number, by its labels. Changed by one thread, read by any."""

    __slots__ = ("about", "counts", "labels", "name", "values")

    def __init__(self, name: str, about: str, labels: tuple[str, ...], *, counts: bool) -> None:
        self.name, self.about, self.labels, self.counts = name, about, labels, counts
        self.values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def set(self, value: float, *labels: str) -> None:
        self.values[labels] = value

    def add(self, more: float, *labels: str) -> None:
        self.values[labels] = self.values.get(labels, 0.0) + more


class Figures:
    """The numbers of one process, whose names begin alike. What prometheus_client collects."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._figures: list[Figure] = []
        self._before: list[Callable[[], None]] = []

    def gauge(self, name: str, about: str, *labels: str) -> Figure:
        """Return a number that goes up and down. Its unit ends its name: `_seconds`, `_bytes`."""
        return self._kept(Figure(name, about, labels, counts=False))

    def counter(self, name: str, about: str, *labels: str) -> Figure:
        """Return a number that only grows; `_total` is put behind its name."""
        return self._kept(Figure(name, about, labels, counts=True))

    def before(self, look: Callable[[], None]) -> None:
        """Have `look` called at each scrape, in the scrape's thread."""
        self._before.append(look)

    def instead(self, look: Callable[[], None]) -> None:
        """Have `look` called at each scrape, and nothing that was to be called so far."""
        self._before = [look]

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for look in self._before:
            look()
        for figure in self._figures:
            kind = CounterMetricFamily if figure.counts else GaugeMetricFamily
            family = kind(self._prefix + figure.name, figure.about, labels=figure.labels)
            for labels, value in figure.values.copy().items():
                family.add_metric(labels, value)
            yield family

    def _kept(self, figure: Figure) -> Figure:
        self._figures.append(figure)
        return figure
