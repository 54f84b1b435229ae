"""The tables that this process follows, and the arrays and the index that they fill."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from contracts.codec import ShowingBlock, decode_showings
from contracts.plausible import expect_showings
from eventlog.contract import DeadLetter
from gateway.appends import MAX_RAW
from gateway.background_writer import BackgroundWriter
from gateway.metrics import Metrics
from gateway.replica import Refused, Rows
from gateway.sharded_replica import Followed
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns, digest_of
from retrieval.session_columns import SessionColumns
from retrieval.trend_columns import TrendColumns
from retrieval.trend_rows import EncodedTrends
from state.change_arrays import ChangeArrays

log = logging.getLogger("nextclick.gateway")

REBUILD_LOOK_S = 1.0
BAD_ROW = "bad_row"
MOST_LETTERS = 1000
"""Dead letters that a process writes about the rows of one table. A table of another release is all bad rows: counted,
and made anew by its flow, it must not push everybody else's letters out."""


def keys_of(columns: CatalogueColumns) -> Callable[[], Iterable[int]]:
    """Return what lists the items that the columns hold."""

    def keys() -> Iterable[int]:
        alive: list[int] = columns.keys[: columns.count][columns.alive[: columns.count]].tolist()
        return alive

    return keys


def into_trends(columns: TrendColumns) -> Callable[[ChangeArrays], None]:
    """Return what writes changes of the trends table into the columns."""

    def apply(changes: ChangeArrays) -> None:
        columns.apply_encoded(EncodedTrends(changes.keys, changes.raw, changes.begins, changes.ends))

    return apply


def into_showings(columns: TrendColumns) -> Callable[[Rows], None]:
    """Return what writes blocks of showings into the columns."""

    def apply(rows: Rows) -> None:
        columns.apply_showings([(key, _showings(row) if row is not None else None) for key, row in rows])

    return apply


def into_sessions(columns: SessionColumns, slots: int) -> Callable[[Rows], None]:
    """Return what writes ended sessions into the columns; those beyond `slots` are of a time when there were more."""

    def apply(rows: Rows) -> None:
        columns.apply_rows([row for row in rows if row[0] < slots])

    return apply


def _showings(row: bytes) -> ShowingBlock:
    block = decode_showings(row)
    expect_showings(block)
    return block


def into_dead_letters(table: str, letters: BackgroundWriter[DeadLetter], clock_ms: Callable[[], int]) -> Refused:
    """Return what keeps a row that cannot be taken as a dead letter. Its source names table and row, so that processes
    which all meet it keep it once.
    """
    left = MOST_LETTERS

    def refused(key: int, row: bytes, why: str) -> None:
        nonlocal left
        if left:
            left -= 1
            source = f"{table}:{key}:{digest_of(row)}"
            letters.offer(DeadLetter(source, 0, BAD_ROW, why, clock_ms(), row[:MAX_RAW]))

    return refused


async def keep_index_built(index: AnnIndex, turn: asyncio.Lock) -> None:
    """Build a new graph in a thread whenever one is due, and swap it in; searches go on meanwhile."""
    while True:
        plan = None if index.has_base else index.plan_rebuild()
        if plan is not None:
            graph = await asyncio.to_thread(plan.build)
            async with turn:
                if index.has_base:  # a snapshot took its place meanwhile
                    continue
                index.adopt(graph)
            log.info("the index was built anew: %d items", len(index))
        await asyncio.sleep(REBUILD_LOOK_S)


def watch_replica(replica: Followed, rows: Callable[[], int], metrics: Metrics) -> None:
    """Show how a replica does."""
    label = {"table": replica.name}
    metrics.gauge("table_rows", "Rows in memory.", label, rows)
    metrics.gauge("table_change", "Number of the next change to take in.", label, lambda: replica.number)
    metrics.gauge("table_age_seconds", "Since the table was last heard of.", label, lambda: replica.age_s)
    metrics.gauge("table_following", "1 while the table is followed.", label, lambda: float(replica.following))
    if replica.by_relay is not None:
        about = "1 while changes come by the machine's relay, 0 while from Redis."
        metrics.gauge("table_by_relay", about, label, lambda: float(bool(replica.by_relay)))
    metrics.total("table_loads", "Times that all rows were loaded.", label, lambda: replica.loads)
    metrics.total("table_skipped", "Rows that could not be taken in.", label, lambda: replica.skipped)
