"""The shop that a plan is asked for, and what follows from it alone: loads of a day, visits that are open."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import Literal, get_args

from contracts.errors import SettingsError

Followers = Literal["process", "machine"]
DAY_S = 86_400.0
VISIT_KEPT_S = 1_800.0 + 300.0
"""A session is kept for `session.idle_gap` after its last click; five minutes is a visit."""
ENDED_SLOTS = 500_000
"""`trend.sessions`."""
_SHARES = ("known", "usable")
_MAY_BE_NOTHING = ("events", "users", "known", "changes", "peak_days", "replicas", "network_ms", "log_days")
_COUNTS = ("zones", "replicas", "post")
_LARGEST = 1e12


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
    """Who follows the trends table: each gateway process, as built; or one process a machine, which is not built."""
    attribution: bool = False
    log_days: float = 3.0
    """Days that Kafka keeps."""
    network_ms: float = 2.0
    """Between balancer, gateway and Redis of several machines; an assumption, benchmarks run on one machine."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float | int) and not isinstance(value, bool):
                _expect(field.name, value)
        if self.followers not in get_args(Followers):
            raise SettingsError(f"--followers: expected process or machine, got {self.followers!r}")
        if self.peak < 1.0:
            raise SettingsError(f"--peak: expected 1 or more, times an ordinary day, got {self.peak:g}")

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


def _expect(name: str, value: float) -> None:
    option = f"--{name.replace('_', '-')}"
    least = 0.0 if name in _MAY_BE_NOTHING else 1e-9
    if not isfinite(value) or value < least or value > _LARGEST:
        wanted = "0 or more" if not least else "above 0"
        raise SettingsError(f"{option}: expected a number {wanted}, up to {_LARGEST:g}, got {value:g}")
    if name in _SHARES and value > 1.0:
        raise SettingsError(f"{option}: expected a share up to 1, got {value:g}")
    if name in _COUNTS and value != int(value):
        raise SettingsError(f"{option}: expected a whole number, got {value:g}")
