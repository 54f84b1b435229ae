"""The shop that a plan is asked for, and what follows from it alone: loads of a day, visits that are open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

from contracts.errors import SettingsError

Followers = Literal["process", "machine"]
DAY_S = 86_400.0
VISIT_KEPT_S = 1_800.0 + 300.0
"""A session is kept for `session.idle_gap` after its last click; five minutes is a visit."""
ENDED_SLOTS = 500_000
"""`trend.sessions`."""
RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "peak": (1.0, 1e3), "requests": (1e-3, 1e8), "events": (0.0, 1e8), "items": (1.0, 1e10), "users": (0.0, 1e10),
    "peak_days": (0.0, 30.0), "p99_ms": (1.0, 1e5), "known": (0.0, 1.0), "visit": (1.0, 1e4), "kept": (0.0, 1e3),
    "changes": (0.0, 1e4), "post": (1.0, 1e4), "trend_items": (1.0, 1e10), "emit_s": (0.01, DAY_S),
    "usable": (0.01, 1.0), "zones": (1.0, 100.0), "replicas": (0.0, 5.0), "shard_items": (1e3, 1e10),
    "log_days": (0.0, 3650.0), "network_ms": (0.0, 1e4),
}  # fmt: skip
_OF_THE_PEAK: Final = ("requests", "events")
"""Rates whose largest value is that of a sales day."""
_COUNTS: Final = ("zones", "replicas", "post")
_OPTIONS: Final = {"p99_ms": "p99"}
"""Options whose name is another than the field's."""


@dataclass(frozen=True, slots=True)
class Shop:
    """What is asked. Rates are of the busiest hour of an ordinary day; `peak` times them on a sales day."""

    requests: float
    """Recommendations a second; each is one impression in the log."""
    events: float
    """Clicks a second, of any type."""
    items: float
    users: float = 0.0
    """Visitors a day."""
    peak: float = 1.0
    peak_days: float = 2.0
    """Sales days a month, for the money."""
    p99_ms: float = 100.0
    known: float = 0.5
    """Share of the events that name a user."""
    visit: float = 6.0
    """Events of a visit."""
    kept: float = 3.0
    """Profiles that are kept, for each daily visitor who is known (`profile.keep`)."""
    changes: float = 1.0
    """Changes of an item a day: price, stock."""
    post: float = 1.0
    """Events of one POST: 1 from browsers, hundreds from a shop's server."""
    trend_items: float = 250_000.0
    """`trend.max_items`."""
    emit_s: float = 1.0
    """`trend.emit_interval_ms`: an item's row is written at most this often."""
    usable: float = 0.6
    """Share of a core that may be busy."""
    zones: float = 3.0
    """Zones; one may be lost. 1: none is spare."""
    replicas: float = 1.0
    """Copies of a Redis shard."""
    shard_items: float = 3e6
    """Items of one graph of the index, all graphs on every machine."""
    followers: Followers = "process"
    """Who reads the trends from Redis: each gateway process; or a relay on each machine, for all of them there."""
    attribution: bool = False
    log_days: float = 3.0
    """Days that Kafka keeps."""
    network_ms: float = 2.0
    """Between balancer, gateway and Redis of several machines; an assumption, benchmarks run on one machine."""

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            times = self.peak if name in _OF_THE_PEAK else 1.0
            _expect(name, getattr(self, name), low, high / times)
        if self.followers not in get_args(Followers):
            raise SettingsError(f"--followers: expected process or machine, got {self.followers!r}")

    def on_sales_day(self) -> Shop:
        """Return the same shop with the rates of a sales day; its items and its known visitors are as they were."""
        return replace(self, requests=self.requests * self.peak, events=self.events * self.peak, peak=1.0)

    @property
    def open_visits(self) -> float:
        """Visits whose session is kept at any moment."""
        return self.events / self.visit * VISIT_KEPT_S

    @property
    def profiles(self) -> float:
        """Profiles that are kept."""
        return self.users * self.known * self.kept

    @property
    def item_changes(self) -> float:
        """Changes of items a second."""
        return self.items * self.changes / DAY_S

    @property
    def trends(self) -> float:
        """Items that have a row of trends."""
        return min(self.items, self.trend_items)

    @property
    def graphs(self) -> int:
        """Graphs of the index."""
        return max(1, -int(-self.items // self.shard_items))

    def rows(self, rows_click: float) -> float:
        """Return rows of the trends table that are written a second: those that clicks move, each once an interval."""
        return min(self.events * rows_click, self.trends / self.emit_s)


def _expect(name: str, value: float, low: float, high: float) -> None:
    option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
    if not low <= value <= high:  # nor one that is no number
        raise SettingsError(f"{option}: expected a number from {low:g} to {high:g}, got {value:g}")
    if name in _COUNTS and value != int(value):
        raise SettingsError(f"{option}: expected a whole number, got {value:g}")
