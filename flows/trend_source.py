"""The log as a Bytewax source that Bytewax itself resumes: one source partition a log partition, its state the offset.

Partitions that one worker has of a topic share a reader, so that idle polling costs one round trip and not one each.

A Redis whose machine died comes back without its last records, and others take their offsets. So whoever begins to
read, or reads again after an outage, goes back to where it was some seconds before: what was counted is recognised as
repeated (`retrieval.open_sessions`), and what took the place of others is not passed by.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition

from contracts.errors import LogUnavailable, OffsetTrimmed
from eventlog.contract import Batch, LogReader, Topic
from flows.counted import count_read
from flows.outage import OUTAGE
from flows.settings import FlowOptions
from state.read_progress import ReadProgress

log = logging.getLogger(__name__)

_TELL_LOG_S = 1.0
_ROUND_S = 0.1
"""How often the log is read while records come: what one reading gives is counted together."""
BACK_S = 5.0
"""So much earlier reading begins again: more than what a Redis loses that its machine took along (`docs/full.md`)."""
_NOTED_EVERY_S = 0.5
_WAIT_S = 0.2
"""How long a reading waits for records when nothing came lately. The flow does nothing meanwhile, and notices at once
when the connection breaks."""
_TELL_END_S = 5.0
"""How often a partition of which nothing is left to read is told of, by a batch without records: sessions end by event
time only as far as both topics were read, and a quiet one is not to hold them back."""
_SAVES = 3
"""Snapshots: the newest is being written, the one before may not be whole in every process, the oldest is."""
_SOON = timedelta(milliseconds=2)
_HANDED_ON_AFTER = 3
"""Times that a source finds nothing before its worker sleeps until the next round: until then the steps behind it take
what was read. Bytewax itself looks around a thousand times a second, which costs 2% of a core."""


class Place(NamedTuple):
    """Where a partition is read on, and where reading was BACK_S before. None is the oldest kept."""

    next: int | None
    back: int | None

    @classmethod
    def of(cls, resume: object) -> Place:
        """Return what a snapshot kept; releases before this one kept one offset."""
        if isinstance(resume, tuple):
            return cls(*resume)
        return cls(resume, resume) if isinstance(resume, int) else cls(None, None)


class Way:
    """A partition's place, and the places before it that may have to be gone back to."""

    def __init__(self, place: Place) -> None:
        self.next = place.next
        self._past = deque([(-math.inf, place.back)])

    def reached(self, next: int, now_s: float) -> None:
        self.next = next
        if now_s - self._past[-1][0] >= _NOTED_EVERY_S:
            self._past.append((now_s, next))
        while len(self._past) > 1 and self._past[1][0] <= now_s - BACK_S:
            self._past.popleft()

    def again_from(self, offset: int) -> None:
        """Reading begins again at an offset: what was read behind it is no place to go back to."""
        self._past = deque([(-math.inf, offset)])

    @property
    def place(self) -> Place:
        """BACK_S before the newest record came, however long nothing has come since: that may be an outage."""
        return Place(self.next, self._past[0][1])


class ResumedLogSource(FixedPartitionedSource[Batch, "Place"]):
    """Starts at the oldest record kept, or where Bytewax's recovery says. Outages of the log are waited out.

    A partition that was read to its end is told of by an empty batch, again and again while nothing comes. With
    `rests`, the worker sleeps between rounds of reading, or waits for records: wanted of one source of a flow.
    """

    def __init__(
        self,
        *,
        topic: Topic,
        partitions: int,
        open_reader: Callable[[Sequence[int]], LogReader],
        options: FlowOptions,
        rests: bool = False,
        progress: ReadProgress | None = None,
    ) -> None:
        """`progress` is told how far the log was read, and what was trimmed before that."""
        self._partitions = partitions
        self._shared = _SharedReader(topic, open_reader, options, rests, progress)

    def list_parts(self) -> list[str]:
        return [f"{partition:04d}" for partition in range(self._partitions)]

    def build_part(self, step_id: str, for_part: str, resume_state: object) -> _Partition:
        return _Partition(self._shared, int(for_part), Place.of(resume_state))


class _Partition(StatefulSourcePartition[Batch, "Place"]):
    def __init__(self, shared: _SharedReader, partition: int, resume: Place) -> None:
        self._shared, self._partition = shared, partition
        self._way = shared.add(partition, resume)
        self._awake: datetime | None = None

    def next_batch(self) -> list[Batch]:
        soon = datetime.now(UTC) + _SOON  # from before a rest: Bytewax counts from then, and would wait as long again
        batch = self._shared.take(self._partition)
        if batch is None:
            self._awake = soon
            return []
        self._awake = None
        if batch.messages:  # that nothing is left moves nobody on
            self._way.reached(batch.next, time.monotonic())
        return [batch]

    def next_awake(self) -> datetime | None:
        return self._awake

    def snapshot(self) -> Place:
        place = self._way.place
        self._shared.saved(self._partition, place.back)
        return place

    def close(self) -> None:
        self._shared.remove(self._partition)


class _SharedReader:
    """One reader for the partitions that this worker has. `_ways` hold how far what was read was handed on."""

    def __init__(
        self,
        topic: Topic,
        open_reader: Callable[[Sequence[int]], LogReader],
        options: FlowOptions,
        rests: bool,
        progress: ReadProgress | None,
    ) -> None:
        self._topic, self._open_reader, self._progress = topic, open_reader, progress
        self._batch_records = options.batch_records
        self._share = 1.0 if rests else 0.5  # what does not rest is due whenever the worker has rested
        self._rests, self._idle = rests, 0
        self._pause_s = options.outage_pause_ms / 1000
        self._outage = OUTAGE.part()
        self._failures = OUTAGE.failures
        self._ways: dict[int, Way] = {}
        self._waiting: dict[int, deque[Batch]] = {}
        self._taken: dict[int, int] = {}
        self._saves: dict[int, deque[int | None]] = {}
        """By partition, its place in the last snapshots, oldest first: the flow goes on from one of them if it dies."""
        self._held: dict[int, int] = {}
        self._reader: LogReader | None = None
        self._connections = 0
        self._polled: dict[int, int] = {}
        """By partition, the offset that the next reading begins at."""
        self._poll_s = self._told_s = self._end_s = 0.0

    def add(self, partition: int, start: Place) -> Way:
        self._ways[partition] = way = Way(start)
        self._waiting[partition] = deque()
        self._saves[partition] = deque([start.back], _SAVES)
        self._close()
        return way

    def remove(self, partition: int) -> None:
        self._ways.pop(partition, None)
        self._waiting.pop(partition, None)
        self._saves.pop(partition, None)
        if not self._ways:
            self._outage.over()
            self._close()

    def saved(self, partition: int, next_offset: int | None) -> None:
        """A snapshot of the partition's place is made."""
        self._saves[partition].append(next_offset)

    def take(self, partition: int) -> Batch | None:
        """Return the partition's next batch, polling for all of them when it has none."""
        waiting = self._waiting[partition]
        if not waiting:
            wait_s = self._rest() if self._rests and partition == min(self._ways) else 0.0
            if time.monotonic() >= self._poll_s:
                self._poll(wait_s)
        if not waiting:
            return None
        self._idle = 0
        batch = waiting.popleft()
        self._taken[partition] = batch.next
        return batch

    def _rest(self) -> float:
        """Sleep until the next round, once the flow has had time to take what was read; returns how long a reading may
        wait for records then.
        """
        self._idle += 1
        if self._idle <= _HANDED_ON_AFTER:
            return 0.0
        left_s = self._poll_s - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)
        return _WAIT_S

    def _poll(self, wait_s: float) -> None:
        if OUTAGE.failures != self._failures:  # also of a sink, which kept this from looking
            self._failures = OUTAGE.failures
            self._close()
        try:
            reader = self._opened()
            self._tell_log(reader)
            batches = [*reader.poll(self._batch_records, wait_s)]
            if reader.connections != self._connections:  # back so soon that nothing failed
                self._close()
                return
            count_read(batches)
            self._polled.update((batch.partition, batch.next) for batch in batches)
            batches += self._read_up(reader, {batch.partition for batch in batches})
        except OffsetTrimmed:
            self._close()  # opening it again says where to go on
            return
        except LogUnavailable as error:
            self._close()
            self._outage.failed(error)
            self._poll_s = time.monotonic() + self._pause_s
            return
        self._outage.over()
        for batch in batches:
            self._waiting[batch.partition].append(batch)
        if all(len(batch.messages) < self._batch_records for batch in batches):
            self._poll_s = time.monotonic() + self._share * _ROUND_S

    def _read_up(self, reader: LogReader, read_now: Set[int]) -> list[Batch]:
        """Return an empty batch for each partition of which all was read before this reading, now and then."""
        now_s = time.monotonic()
        if now_s - self._end_s < _TELL_END_S:
            return []
        self._end_s, ends = now_s, reader.ends()
        quiet = [number for number, waiting in self._waiting.items() if not waiting and number not in read_now]
        return [
            Batch(self._topic, number, at, at, [])
            for number in quiet
            if (at := self._polled.get(number, ends[number])) >= ends[number]
        ]

    def _opened(self) -> LogReader:
        if self._reader is None:
            reader = self._open_reader(sorted(self._ways))
            try:
                self._seek(reader)
            except BaseException:
                reader.close()
                raise
            self._reader, self._connections = reader, reader.connections
        return self._reader

    def _seek(self, reader: LogReader) -> None:
        """Go to where reading goes on; what was read and not handed on is read again."""
        oldest, ends, now_s = reader.earliest(), reader.ends(), time.monotonic()
        lost: dict[int, int] = {}
        for partition, way in self._ways.items():
            self._waiting[partition].clear()
            wanted = way.place
            place = place_in_log(partition, wanted, oldest[partition], ends[partition])
            reader.seek(partition, place)
            way.again_from(place)
            self._polled[partition] = place
            if wanted.next is not None and oldest[partition] > wanted.next:
                lost[partition] = oldest[partition] - wanted.next
                way.reached(oldest[partition], now_s)  # and is not lost once more
            saves = self._saves[partition]
            held = saves[0] = place if saves[0] is None else saves[0]
            reader.hold(partition, held)
            self._held[partition] = held
        if lost:
            say_lost(lost)
            if self._progress is not None:
                self._progress.tell({}, lost=sum(lost.values()))

    def _tell_log(self, reader: LogReader) -> None:
        if time.monotonic() - self._told_s > _TELL_LOG_S:
            self._told_s = time.monotonic()
            taken, self._taken = self._taken, {}
            for partition, offset in taken.items():
                reader.commit(partition, offset)
            for partition, saves in self._saves.items():
                if (held := saves[0]) is not None and held != self._held.get(partition):
                    reader.hold(partition, held)
                    self._held[partition] = held
            if taken and self._progress is not None:
                self._progress.tell(taken)

    def _close(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def place_in_log(partition: int, wanted: Place, oldest: int, end: int) -> int:
    """Return the offset to read on from: where reading was BACK_S before, or the oldest kept.

    A log that ends before what was read has lost records. If it ends even before `wanted.back`, nobody knows which: all
    that it keeps is read again.
    """
    if wanted.next is not None and wanted.next > end:
        log.warning("partition %d: had read to %d, the log lost its last records: going on", partition, wanted.next)
    back = wanted.back
    return oldest if back is None or back > end else max(oldest, back)


def say_lost(lost: Mapping[int, int]) -> None:
    """Say how many records, by partition, were trimmed before they were read."""
    log.error(
        "%d records of %d partitions were trimmed before they were read, and are not counted: raise "
        "NEXTCLICK_LOG__KEPT_RECORDS (Kafka: the topic's retention), or find out why this flow was behind",
        *(sum(lost.values()), len(lost)),
    )
