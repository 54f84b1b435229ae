"""The log as a Bytewax source: what one reading gave as one object, a batch a partition, so that no operator can mix
partitions.

Where to start is not Bytewax's to know: each partition resumes at the offset that stands beside its state in Redis.
A step that finds a batch out of place (another worker came first, or Redis lost its last second) names the right
offset in the `Cursor`, and the source reads on from there.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from bytewax.inputs import DynamicSource, StatelessSourcePartition

from contracts.errors import (
    ArtifactError,
    LogUnavailable,
    LogWentBack,
    OffsetTrimmed,
    SettingsError,
    StateUnavailable,
)
from contracts.exits import leave_at_once
from contracts.gathering import Gathering
from contracts.loaded import keep_loaded
from contracts.settings import ServiceSettings
from eventlog.contract import Batch, LogReader, Topic
from flows.counted import count_read
from flows.outage import OUTAGE
from flows.settings import FlowOptions
from state.flow_members import FlowMembers
from state.flow_offsets import step_back
from state.read_progress import ReadProgress

log = logging.getLogger(__name__)

TELL_LOG_S = 0.5
"""How often the log is told what has been applied: lag tools and trimming look at it, nothing resumes from it."""
LOOK_AT_STATE_S = 2.0
"""How often a worker looks whether the state still stands where it has brought it: a Redis that was emptied, or
restored from older files, says nothing of that."""
LOOK_AGAIN = timedelta(milliseconds=500)
"""How long a worker waits that has no partition, or whose partition another still writes, before it looks again."""
LONGEST_WAIT_S = 0.5
"""A worker that finds nothing waits twice as long each time, up to this. A record that comes ends the wait at once."""


class Cursor:
    """What the step of a process tells its source: how far it has applied, and what has to be read again."""

    def __init__(self) -> None:
        self.reached: dict[int, int] = {}
        """By partition, where its state stood when that was last heard of."""
        self._applied: dict[int, int] = {}
        self._rewinds: dict[int, int] = {}

    def applied(self, partition: int, next_offset: int) -> None:
        self._applied[partition] = self.reached[partition] = next_offset

    def rewind(self, partition: int, offset: int) -> None:
        """The state stands at `offset`: read the partition from there."""
        self._applied[partition] = self.reached[partition] = offset
        self._rewinds[partition] = offset

    def take_applied(self) -> dict[int, int]:
        taken, self._applied = self._applied, {}
        return taken

    @property
    def has_rewinds(self) -> bool:
        return bool(self._rewinds)

    def take_rewinds(self) -> dict[int, int]:
        taken, self._rewinds = self._rewinds, {}
        return taken


Reading = Sequence[Batch]
"""Batches of different partitions."""


class LogSource(DynamicSource[Reading]):
    """Partition p of the topic goes to worker p modulo the number of workers. Among `members`, processes that know
    nothing of each other but who is there, a worker takes up and puts down partitions as processes come and go.

    `prepare` is called before a worker first reads, `when_idle` whenever there was nothing to read: it returns whether
    there may be more to do, and the next wait is short then. While records come often, a worker reads up to `gather_s`
    apart, so that one reading brings more of them (`contracts.gathering`). `progress` is told how far was applied, and
    what was trimmed before it was read. `step_back` has a partition's stored offset be no further than another one: in
    a Redis Cluster a log can lose its last records while the state that was made of them stays.
    """

    def __init__(
        self,
        *,
        partitions: int,
        open_reader: Callable[[Sequence[int]], LogReader],
        stored_offset: Callable[[int], int],
        cursor: Cursor,
        options: FlowOptions,
        gather_s: float = 0.0,
        prepare: Callable[[], None] = lambda: None,
        when_idle: Callable[[], bool] = lambda: False,
        progress: ReadProgress | None = None,
        members: FlowMembers | None = None,
        step_back: Callable[[int, int], None] = lambda partition, offset: None,
    ) -> None:
        self.partitions, self.members, self.step_back = partitions, members, step_back
        self.open_reader = open_reader
        self.stored_offset = stored_offset
        self.cursor = cursor
        self.gather_s = gather_s
        self.progress = progress
        self.prepare, self.when_idle = prepare, when_idle
        self.batch_records = options.batch_records
        self.poll_wait_s = options.poll_wait_ms / 1000
        self.pause = timedelta(milliseconds=options.outage_pause_ms)

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _WorkerReader:
        mine = [p for p in range(self.partitions) if p % worker_count == worker_index]
        return _WorkerReader(self, mine)


def stepping_back(settings: ServiceSettings, flow: str, topic: Topic) -> Callable[[int, int], None]:
    """Return what has a flow's state step back in one of its topics."""

    def back(partition: int, offset: int) -> None:
        step_back(settings.redis, flow, topic, partition, offset, settings.log.partitions)

    return back


class _WorkerReader(StatelessSourcePartition[Reading]):
    """The partitions of one worker. Log and Redis outages are waited out, never raised into the flow."""

    def __init__(self, source: LogSource, partitions: Sequence[int]) -> None:
        self._source = source
        self._partitions = partitions if source.members is None else ()
        self._reader: LogReader | None = None
        self._is_prepared = self._gives_way = False
        self._awake: datetime | None = None
        self._skips: dict[int, int] = {}
        self._went_back: dict[int, int] = {}
        self._outage, self._doubts = OUTAGE.part(), False
        self._told_log = 0.0
        self._looked_at_state = time.monotonic()
        self._wait_s = source.poll_wait_s
        self._gathering = Gathering(source.gather_s)
        self._read_at = -math.inf

    def next_batch(self) -> list[Reading]:
        self._awake = None
        try:
            self._step_back()
            if not self._has_partitions():
                return []
            batches = self._read(self._opened())
            self._outage.over()
            self._doubts = False
            return [batches] if batches else []
        except LogWentBack as back:
            log.error("%s", back)
            self._went_back[back.partition] = back.earliest
        except OffsetTrimmed as trimmed:
            # Out of reach while the backlog limit holds; if it comes all the same, say what was lost and go on.
            log.error("%s Going on from the oldest kept.", trimmed)
            self._skips[trimmed.partition] = trimmed.wanted
            if self._source.progress is not None and trimmed.earliest > trimmed.wanted:
                self._source.progress.tell({}, lost=trimmed.earliest - trimmed.wanted)
            self._opened().seek(trimmed.partition, trimmed.earliest)
        except (LogUnavailable, StateUnavailable) as error:
            if isinstance(error, StateUnavailable) and not self._doubts:  # Redis may be back already
                self._doubts = True
                OUTAGE.doubted()
                return []
            self._outage.failed(error)
            self._awake = datetime.now(UTC) + self._source.pause
        return []

    def _has_partitions(self) -> bool:
        """Among members, take what is this worker's by now. Without any, sleep. Raises StateUnavailable."""
        members = self._source.members
        if members is not None:
            self._prepare()  # before others leave partitions to this process
            members.join()
            if self._source.cursor.has_rewinds and not self._gives_way:  # to who writes before us, for a moment
                members.look()
                self._gives_way, self._awake = True, datetime.now(UTC) + LOOK_AGAIN
                return False
            self._gives_way = False
            mine = members.share()
            if mine != self._partitions:
                self._put_down()
                self._partitions = mine
        if not self._partitions:
            self._awake = datetime.now(UTC) + (LOOK_AGAIN if members is not None else timedelta(days=1))
        return bool(self._partitions)

    def _put_down(self) -> None:
        """Let go of the reader, and of what was known of its partitions; all that was applied is told of first."""
        if self._reader is not None:
            reader, self._reader = self._reader, None
            self._tell_log(reader)
            reader.close()
        self._source.cursor.take_rewinds(), self._source.cursor.take_applied()
        self._source.cursor.reached.clear()
        self._skips.clear()
        self._read_at = -math.inf

    def _mine(self, offsets: Mapping[int, int]) -> dict[int, int]:
        """Leave out what a step says of a partition that was put down meanwhile: that is another's to tell."""
        return {partition: offset for partition, offset in offsets.items() if partition in self._partitions}

    def _tell_log(self, reader: LogReader) -> None:
        self._told_log = time.monotonic()
        for partition, offset in (applied := self._mine(self._source.cursor.take_applied())).items():
            reader.commit(partition, offset)
        if self._source.progress is not None:
            self._source.progress.tell(applied)

    def _read(self, reader: LogReader) -> list[Batch]:
        self._look_at_state()
        for partition, offset in self._mine(self._source.cursor.take_rewinds()).items():
            log.warning("partition %d: reading again from offset %d", partition, offset)
            self._skips.pop(partition, None)
            reader.seek(partition, offset)
        if time.monotonic() - self._told_log > TELL_LOG_S:
            self._tell_log(reader)
        self._gather()
        batches = reader.poll(self._source.batch_records, self._wait_s)
        if batches:
            count_read(batches)
            self._note(batches)
        busy = bool(batches) or self._source.when_idle()
        self._wait_s = self._source.poll_wait_s if busy else max(self._wait_s, min(2 * self._wait_s, LONGEST_WAIT_S))
        return [self._bridged(batch) for batch in batches] if self._skips else batches

    def _step_back(self) -> None:
        """Have the state know no more of a log than what it has kept. Raises StateUnavailable."""
        for partition, offset in list(self._went_back.items()):
            self._source.step_back(partition, offset)
            self._source.cursor.rewind(partition, min(offset, self._source.stored_offset(partition)))
            del self._went_back[partition]

    def _look_at_state(self) -> None:
        """Read again what a Redis that went back no longer holds."""
        if time.monotonic() - self._looked_at_state < LOOK_AT_STATE_S:
            return
        self._looked_at_state = time.monotonic()
        cursor = self._source.cursor
        went_back = 0
        for partition in self._partitions:
            stored = self._source.stored_offset(partition)
            if stored < cursor.reached.get(partition, 0):
                cursor.rewind(partition, stored)
                went_back += 1
        if went_back:
            log.error(
                "the state of %d partitions went back: Redis was emptied, or restored from older files. "
                "Reading again what the log holds of what is lost",
                went_back,
            )

    def _gather(self) -> None:
        """Sleep while it is not long since the last reading brought something, and what comes is worth waiting for."""
        now = time.monotonic()
        left_s = self._read_at + self._gathering.pause_s(now) - now
        if left_s > 0:
            time.sleep(left_s)

    def _note(self, batches: Sequence[Batch]) -> None:
        """Remember when a reading brought how many; where it left some, the next one does not wait."""
        now, counts = time.monotonic(), [len(batch.messages) for batch in batches]
        self._gathering.came(sum(counts), now)
        self._read_at = now if max(counts) < self._source.batch_records else -math.inf

    def _bridged(self, batch: Batch) -> Batch:
        """Let the first batch behind a trimmed stretch start where the state stands, so that it can be applied."""
        wanted = self._skips.pop(batch.partition, None)
        return batch if wanted is None else replace(batch, start=wanted)

    def _opened(self) -> LogReader:
        if self._reader is None:
            self._prepare()
            starts = {p: self._source.stored_offset(p) for p in self._partitions}
            self._reader = self._source.open_reader(self._partitions)
            for partition, offset in starts.items():
                self._reader.seek(partition, offset)
                self._source.cursor.reached[partition] = offset
            if self._source.members is not None and self._source.progress is not None:
                self._source.progress.tell(starts)  # whoever had them before may have gone without a word
        return self._reader

    def _prepare(self) -> None:
        if not self._is_prepared:
            try:
                self._source.prepare()
            except (SettingsError, ArtifactError) as refusal:  # another number of shards is stored, say
                leave_at_once(refusal)
            keep_loaded()
            self._is_prepared = True

    def next_awake(self) -> datetime | None:
        return self._awake

    def close(self) -> None:
        self._outage.over()
        if self._reader is not None:
            self._reader.close()
