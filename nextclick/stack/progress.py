"""How far the session path has come, counted from Redis: accepted = applied + duplicates + dead-lettered."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from contracts.settings import ServiceSettings
from eventlog.contract import Topic
from eventlog.open_log import open_reader
from state.sessions import SessionStore

COLUMNS = ("applied", "duplicate", "dead_lettered", "impressions")


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One partition: records in the log, the next offset to apply, and the outcome counters."""

    partition: int
    log_end: int
    next_offset: int
    counts: dict[str, int]

    @property
    def lag(self) -> int:
        return self.log_end - self.next_offset


def read_progress(settings: ServiceSettings) -> list[PartitionProgress]:
    """Read every partition's progress. Raises StateUnavailable or LogUnavailable."""
    partitions = range(settings.log.partitions)
    store = SessionStore(settings.redis, idle_gap_ms=settings.session.idle_gap_ms)
    reader = open_reader(settings.log, settings.redis, Topic.CLICKS, list(partitions), "progress")
    try:
        ends = reader.ends()
        found = {p: store.progress(p) for p in partitions}
        return [PartitionProgress(p, ends[p], found[p].next_offset, dict(found[p].counts)) for p in partitions]
    finally:
        reader.close()
        store.close()


def totals(rows: list[PartitionProgress]) -> dict[str, int]:
    """Return the sums over all partitions: log_end, next_offset, lag, and every outcome."""
    sums = {name: sum(row.counts.get(name, 0) for row in rows) for name in COLUMNS}
    return {
        "log_end": sum(row.log_end for row in rows),
        "next_offset": sum(row.next_offset for row in rows),
        "lag": sum(row.lag for row in rows),
        **sums,
    }


def progress_table(settings: ServiceSettings) -> Table:
    """Return the progress of every partition as a table with a total."""
    rows = read_progress(settings)
    table = Table("partition", "in the log", "lag", *COLUMNS, title="Session path", show_footer=True)
    for row in rows:
        outcomes = [f"{row.counts.get(name, 0):,}" for name in COLUMNS]
        table.add_row(f"p{row.partition}", f"{row.log_end:,}", f"{row.lag:,}", *outcomes)
    sums = totals(rows)
    table.columns[0].footer = "all"
    for column, name in zip(table.columns[1:], ("log_end", "lag", *COLUMNS), strict=True):
        column.footer, column.justify = f"{sums[name]:,}", "right"
    return table
