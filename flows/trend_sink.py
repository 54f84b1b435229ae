"""Where trends go: rows to the trends table, ended sessions to theirs, items first seen in clicks to the items log.
Outages are waited out.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from bytewax.outputs import DynamicSink, StatelessSinkPartition

from contracts.items import ItemSeen, encode_change
from eventlog.contract import LogWriter, Record, Topic
from flows import apply_once
from flows.trend_steps import SessionRows, ShowingRow, TrendRows
from retrieval.showings import SHARDS
from state.tables import TableWriter

log = logging.getLogger(__name__)

R = TypeVar("R")

_ROWS_TOGETHER = 500
_LATELY_S = 10.0
KEPT_BLOCKS = 4 * SHARDS
"""Changes of the showings table kept: a block is large, and loading all of them again costs little."""
KEPT_CHANGES = 20_000
"""Changes of the trends table kept for gateways that follow: several seconds of a busy shop."""


def patiently(attempt: Callable[[], R], *, pause_ms: int, sleep: Callable[[float], None] = time.sleep) -> R:
    """Call `attempt` until neither Redis nor the log is out; return what it returns."""
    return apply_once.patiently(attempt, pause_ms / 1000, sleep)


def commit_some(table: TableWriter, puts: Mapping[bytes, bytes], deletes: Sequence[bytes], *, pause_ms: int) -> int:
    """Write rows and delete others, some hundreds at a time: a commit holds up whoever else uses Redis. Returns the
    number of the table's next change, 0 if there was nothing to write.
    """
    end = 0
    for start in range(0, len(puts), _ROWS_TOGETHER):
        some = dict(islice(puts.items(), start, start + _ROWS_TOGETHER))
        end = patiently(partial(table.commit, some), pause_ms=pause_ms)
    for start in range(0, len(deletes), _ROWS_TOGETHER):
        end = patiently(partial(table.commit, {}, deletes[start : start + _ROWS_TOGETHER]), pause_ms=pause_ms)
    return end


class TrendSink(DynamicSink[tuple[str, "TrendRows | ItemSeen"]]):
    """Writes absolute values: what Bytewax replays after a crash changes nothing."""

    def __init__(
        self, open_table: Callable[[], TableWriter], open_writer: Callable[[], LogWriter], *, pause_ms: int
    ) -> None:
        self._open_table, self._open_writer, self._pause_ms = open_table, open_writer, pause_ms

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _TrendWriter:
        if worker_count > 1:
            log.warning("all %d processes of the trends flow are there: it counts", worker_count)
        return _TrendWriter(self._open_table(), self._open_writer(), self._pause_ms)


class SessionSink(DynamicSink[tuple[str, SessionRows]]):
    """Writes ended sessions; what Bytewax replays after a crash changes nothing."""

    def __init__(self, open_table: Callable[[], TableWriter], *, pause_ms: int) -> None:
        self._open_table, self._pause_ms = open_table, pause_ms

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _SessionWriter:
        return _SessionWriter(self._open_table(), self._pause_ms)


class ShowingSink(DynamicSink[tuple[str, ShowingRow]]):
    """Writes blocks of showings: absolute values, each by its shard's number."""

    def __init__(self, open_table: Callable[[], TableWriter], *, pause_ms: int) -> None:
        self._open_table, self._pause_ms = open_table, pause_ms

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _ShowingWriter:
        return _ShowingWriter(self._open_table(), self._pause_ms)


class _ShowingWriter(StatelessSinkPartition[tuple[str, ShowingRow]]):
    def __init__(self, table: TableWriter, pause_ms: int) -> None:
        self._table, self._pause_ms = table, pause_ms

    def write_batch(self, items: list[tuple[str, ShowingRow]]) -> None:
        latest = {int(shard).to_bytes(8, "little"): out.row for shard, out in items}
        if latest:
            patiently(partial(self._table.commit, latest), pause_ms=self._pause_ms)

    def close(self) -> None:
        self._table.close()


class _SessionWriter(StatelessSinkPartition[tuple[str, SessionRows]]):
    """Writes the rows of the last seconds again when the table has fewer changes than were made, or the connection was
    another: Redis may have lost its last ones with its machine, and nobody makes these rows anew.
    """

    def __init__(self, table: TableWriter, pause_ms: int) -> None:
        self._table, self._pause_ms = table, pause_ms
        self._end = self._made = 0
        self._lately: deque[tuple[float, dict[bytes, bytes]]] = deque()

    def write_batch(self, items: list[tuple[str, SessionRows]]) -> None:
        puts = {slot.to_bytes(8, "little"): row for _, ended in items for slot, row in ended.rows.items()}
        if not puts:
            return
        end = commit_some(self._table, puts, (), pause_ms=self._pause_ms)
        is_another = self._made not in (0, self._table.connections.made)
        if self._end and (is_another or end < self._end + len(puts)):
            again = dict(row for _, rows in self._lately for row in rows.items()) | puts
            end = commit_some(self._table, again, (), pause_ms=self._pause_ms)
        self._end, self._made = end, self._table.connections.made
        now_s = time.monotonic()
        self._lately.append((now_s, puts))
        while self._lately[0][0] < now_s - _LATELY_S:
            self._lately.popleft()

    def close(self) -> None:
        self._table.close()


class _TrendWriter(StatelessSinkPartition[tuple[str, "TrendRows | ItemSeen"]]):
    def __init__(self, table: TableWriter, writer: LogWriter, pause_ms: int) -> None:
        self._table, self._writer, self._pause_ms = table, writer, pause_ms

    def write_batch(self, items: list[tuple[str, TrendRows | ItemSeen]]) -> None:
        rows: dict[int, bytes | None] = {}  # of one item, the last
        for _, out in items:
            if isinstance(out, TrendRows):
                rows |= out.rows | dict.fromkeys(out.deleted)
        puts = {key.to_bytes(8, "little"): row for key, row in rows.items() if row is not None}
        deletes = [key.to_bytes(8, "little") for key, row in rows.items() if row is None]
        commit_some(self._table, puts, deletes, pause_ms=self._pause_ms)
        seen = [Record(out.item_id, encode_change(out)) for _, out in items if isinstance(out, ItemSeen)]
        if seen:
            patiently(lambda: self._writer.append(Topic.ITEMS, seen), pause_ms=self._pause_ms)

    def close(self) -> None:
        self._table.close()
        self._writer.close()
