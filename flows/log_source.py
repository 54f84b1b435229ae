"""The log as a Bytewax source: one object a micro-batch, so that no operator can mix partitions.

Where to start is not Bytewax's to know: each partition resumes at the offset that stands beside its state in Redis.
A step that finds a batch out of place (another worker came first, or Redis lost its last second) names the right
offset in `Rewinds`, and the source reads on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from contracts.errors import LogUnavailable, OffsetTrimmed, StateUnavailable
from eventlog.contract import Batch, LogReader
from flows.settings import FlowOptions

log = logging.getLogger(__name__)


class Rewinds:
    """Offsets that partitions have to be read from again. Shared by the source and the step of one process."""

    def __init__(self) -> None:
        self._offsets: dict[int, int] = {}

    def ask(self, partition: int, offset: int) -> None:
        self._offsets[partition] = offset

    def take(self) -> dict[int, int]:
        asked, self._offsets = self._offsets, {}
        return asked


class LogSource(DynamicSource[Batch]):
    """Partition p of the topic goes to worker p modulo the number of workers."""

    def __init__(
        self,
        *,
        partitions: int,
        open_reader: Callable[[Sequence[int]], LogReader],
        stored_offset: Callable[[int], int],
        rewinds: Rewinds,
        options: FlowOptions,
    ) -> None:
        self._partitions = partitions
        self._open_reader = open_reader
        self._stored_offset = stored_offset
        self._rewinds = rewinds
        self._batch_records = options.batch_records
        self._poll_wait_s = options.poll_wait_ms / 1000
        self._pause = timedelta(milliseconds=options.outage_pause_ms)

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _WorkerReader:
        mine = [p for p in range(self._partitions) if p % worker_count == worker_index]
        return _WorkerReader(self, mine)


class _WorkerReader(StatelessSourcePartition[Batch]):
    """The partitions of one worker. Log and Redis outages are waited out, never raised into the flow."""

    def __init__(self, source: LogSource, partitions: Sequence[int]) -> None:
        self._source = source
        self._partitions = partitions
        self._reader: LogReader | None = None
        self._awake: datetime | None = None

    def next_batch(self) -> list[Batch]:
        self._awake = None
        if not self._partitions:
            self._awake = datetime.now(UTC) + timedelta(days=1)
            return []
        try:
            reader = self._opened()
            for partition, offset in self._source._rewinds.take().items():
                log.warning("partition %d: reading again from offset %d", partition, offset)
                reader.seek(partition, offset)
            return reader.poll(self._source._batch_records, self._source._poll_wait_s)
        except OffsetTrimmed as trimmed:
            # Not reachable while the backlog limit holds; if it is reached all the same, say what was lost.
            log.error("%s Going on from the oldest kept.", trimmed)
            self._opened().seek(trimmed.partition, trimmed.earliest)
        except (LogUnavailable, StateUnavailable) as outage:
            log.warning("waiting: %s", outage)
            self._awake = datetime.now(UTC) + self._source._pause
        return []

    def _opened(self) -> LogReader:
        if self._reader is None:
            starts = {p: self._source._stored_offset(p) for p in self._partitions}
            self._reader = self._source._open_reader(self._partitions)
            for partition, offset in starts.items():
                self._reader.seek(partition, offset)
        return self._reader

    def next_awake(self) -> datetime | None:
        return self._awake

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
