"""How far the streams are behind, as this process sees it: asked at each scrape, never on a request's way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from contracts.errors import StateUnavailable
from gateway.appends import Appends
from gateway.metrics import Metrics
from gateway.replica import Replica
from state.sessions import SessionReader

MEASURE_S = 0.25
UNKNOWN = float("nan")


class Lag:
    """Clicks that this process appended and the session path has not applied, and changes that replicas lack.

    All are NaN while Redis does not answer.
    """

    def __init__(self, appends: Appends, reader: SessionReader, replicas: Iterable[Replica]) -> None:
        self._appends, self._reader, self._replicas = appends, reader, tuple(replicas)
        self.clicks = 0.0
        self.tables = dict.fromkeys((replica.name for replica in self._replicas), 0.0)

    async def measure(self) -> None:
        """Ask Redis, for a moment at most."""
        try:
            async with asyncio.timeout(MEASURE_S):
                self.clicks = await self._clicks_behind()
                for replica in self._replicas:
                    self.tables[replica.name] = max(0, await replica.reader.end() - replica.number)
        except (TimeoutError, StateUnavailable):
            self.clicks = UNKNOWN
            self.tables = dict.fromkeys(self.tables, UNKNOWN)

    async def _clicks_behind(self) -> float:
        behind = 0
        for partition, newest in list(self._appends.newest_click.items()):
            behind += max(0, newest + 1 - await self._reader.applied(partition))
        return behind


def watch_lag(lag: Lag, metrics: Metrics) -> None:
    """Show the lag."""
    metrics.gauge("clicks_behind", "Clicks appended by this process and not yet applied.", {}, lambda: lag.clicks)
    for name in lag.tables:
        about = "Changes that the replica lacks."
        metrics.gauge("table_changes_behind", about, {"table": name}, lambda name=name: lag.tables[name])  # type: ignore[misc]
