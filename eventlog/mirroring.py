"""A deployment's log copied into another's as it grows: for a second region, or to move from Redis to Kafka.

The copy of a partition is dense: each record of the source has one in the target, in the same order, and one that was
erased, or that the source has no more, is an erased one there. So one pair of offsets, a `Bond`, says for good which
record is which, and where the copy is follows from where the target ends. Nothing moves beside the records, so nothing
can disagree with them, whatever is killed: each record is there once.

That holds as long as nobody else writes to these partitions of the target; the mirror stops where somebody does. It
announces how far it is about to write, so that what others wrote while it did not run is not taken for its own. A
source that lost its last records (a Redis that died with its machine) is read again from some way back, one that was
emptied from its first record: what was copied may come twice then, and readers count an event id once.

A copy that was restored from a backup of the source has its first records already, at the source's own offsets: what
follows them is copied.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from contracts.errors import LogUnavailable, NextclickError, OffsetTrimmed
from contracts.outage import Outage
from contracts.settings import LogSettings, RedisSettings
from contracts.stopping import Stopping
from eventlog.contract import ERASED, Batch, LogReader, Message, Topic
from eventlog.open_log import open_reader

log = logging.getLogger("nextclick.mirror")

GROUP: Final = "mirror"
BACK: Final = 5000
"""Records of a partition that are read again from a source that lost its last ones: more than it takes in a second."""
_LOOKS: Final = 4
"""Records of a partition that are compared, about, to tell whether a copy was restored from a backup of the source."""
_MOST: Final = 1000
_MOST_BYTES: Final = 4_000_000
_WAIT_S: Final = 0.5
_PAUSE_S: Final = 1.0
_TOLD_S: Final = 1.0


class OthersWrite(NextclickError):
    """Somebody else writes to the target's log: it is no copy any more."""


class Bond(NamedTuple):
    """From offset `target` on, the target's records are those of the source from `source` on, each one."""

    source: int
    target: int

    def source_at(self, target: int) -> int:
        """Return the source's offset of the target's record at `target`."""
        return self.source + target - self.target

    def target_at(self, source: int) -> int:
        return self.target + source - self.source


def dense(batch: Batch) -> list[bytes]:
    """Return a value for each offset of a reading: where it holds no message there is an erased one."""
    values = [ERASED] * (batch.next - batch.start)
    for message in batch.messages:
        values[message.offset - batch.start] = message.value
    return values


def portions(values: Sequence[bytes], most: int = _MOST, most_bytes: int = _MOST_BYTES) -> Iterator[Sequence[bytes]]:
    """Yield values in slices of at most `most`, and of `most_bytes` where no single one is larger."""
    begun, size = 0, 0
    for at, value in enumerate(values):
        if at > begun and (at - begun >= most or size + len(value) > most_bytes):
            yield values[begun:at]
            begun, size = at, 0
        size += len(value)
    if begun < len(values):
        yield values[begun:]


class Target(Protocol):
    """The log that is written."""

    def bonds(self, topic: Topic) -> Mapping[int, Bond]:
        """Return the bonds of a topic's partitions that have one."""

    def bind(self, topic: Topic, partition: int, bond: Bond) -> None:
        """Keep a bond, durably, before the first record that it is about."""

    def ends(self, topic: Topic) -> Mapping[int, int]:
        """Return the offset that each partition's next record gets."""

    def announce(self, topic: Topic, partition: int, end: int) -> None:
        """Keep up to which offset the mirror is about to write: what stands beyond is somebody else's."""

    def announced(self, topic: Topic) -> Mapping[int, int]:
        """Return what was announced last, by partition."""

    def append(self, topic: Topic, partition: int, values: Sequence[bytes]) -> int:
        """Append, durably, and return the first one's offset. Raises LogUnavailable: a part may have been taken."""

    def value_at(self, topic: Topic, partition: int, offset: int) -> bytes | None:
        """Return one record; None where it is kept no more."""

    def close(self) -> None: ...


@dataclass
class Copied:
    """What a mirror of a topic has done, and has before it. Written by its thread alone."""

    records: int = 0
    erased: int = 0
    trimmed: int = 0
    """Records that the source had no more when their turn came."""
    again: int = 0
    """Records that were read again, as the source may have lost its last ones."""
    behind: int = 0
    seen_s: float | None = None
    """When the original was looked at last, on the monotonic clock; None: not yet."""


class TopicMirror:
    """Copies one topic, in one thread."""

    def __init__(self, source: tuple[LogSettings, RedisSettings], target: Target, topic: Topic) -> None:
        self._source, self._target, self._topic = source, target, topic
        self._reader: LogReader | None = None
        self._connections = 0
        self._bonds: dict[int, Bond] = {}
        self._ends: dict[int, int] = {}
        self._outage = Outage(log, f"{topic}: ")
        self.copied = Copied()

    def run(self, stopping: Stopping, *, until_copied: bool = False) -> None:
        """Copy until told to stop, or until what is there is copied. Outages are waited for. Raises OthersWrite."""
        try:
            while not stopping.is_set():
                try:
                    more = self.step()
                except LogUnavailable as error:
                    self._outage.failed(error)
                    self._let_go()
                    stopping.wait(_PAUSE_S)
                    continue
                self._outage.over()
                if until_copied and not more:
                    return
        finally:
            self._let_go()

    def step(self) -> bool:
        """Copy what is there next, waiting a little for it; say whether there may be more. Raises LogUnavailable."""
        if self._reader is None:
            self._place()
        assert self._reader is not None
        try:
            batches = self._reader.poll(_MOST, _WAIT_S)
        except OffsetTrimmed as gone:
            self._rebind(gone)
            return True
        if self._reader.connections != self._connections:  # its last records may be others now
            self._let_go()
            self._place()
            return True
        for batch in batches:
            self._copy(batch)
        ends = self._reader.ends()
        if any(end < self._next(at) for at, end in ends.items()):  # it was emptied: what comes now are other records
            self._let_go()
            return True
        self.copied.behind = sum(max(0, end - self._next(at)) for at, end in ends.items())
        self.copied.seen_s = time.monotonic()
        return bool(batches) or self.copied.behind > 0

    def _next(self, partition: int) -> int:
        return self._bonds[partition].source_at(self._ends[partition])

    def _copy(self, batch: Batch) -> None:
        for values in portions(dense(batch)):
            expected = self._ends[batch.partition]
            self._target.announce(self._topic, batch.partition, expected + len(values))
            first = self._target.append(self._topic, batch.partition, values)
            if first != expected:
                raise self._others(batch.partition, expected, first)
            self._ends[batch.partition] = first + len(values)
            self.copied.records += len(values)
            self.copied.erased += sum(value == ERASED for value in values)
        assert self._reader is not None
        self._reader.commit(batch.partition, batch.next)

    def _others(self, partition: int, expected: int, got: int) -> OthersWrite:
        return OthersWrite(
            f"{self._topic} partition {partition} of the copy: expected its end at {expected}, got {got}: somebody "
            "else writes there. Keep traffic away from the copy; where it has taken over, leave the mirror ended"
        )

    def _place(self) -> None:
        """Open the source where the copy ends; bind partitions that never were."""
        settings, redis = self._source
        partitions = range(settings.partitions)
        self._ends = dict(self._target.ends(self._topic))
        known, announced = self._target.bonds(self._topic), self._target.announced(self._topic)
        reader = open_reader(settings, redis, self._topic, partitions, GROUP)
        try:
            earliest, ends = reader.earliest(), reader.ends()
            self._connections = reader.connections
            gone = 0
            for at in partitions:
                bond = known.get(at)
                if bond is None:
                    bond = self._begin(at, earliest[at], ends[at])
                    gone += earliest[at] if bond.source == earliest[at] else 0
                elif not self._still_so(at, bond, earliest[at], ends[at]):
                    if self._ends[at] > announced.get(at, self._ends[at]):
                        raise self._others(at, announced[at], self._ends[at])
                    bond = self._back(at, bond, earliest[at], ends[at])
                self._bonds[at] = bond
                reader.seek(at, self._next(at))
        except BaseException:
            reader.close()
            raise
        if gone:
            log.warning(
                "%s: the original keeps its first %d records no more; the copy lacks them, but for what a backup "
                "brought: mirror within `log.kept_records` of the backup, or put the catalogue in",
                self._topic,
                gone,
            )
        self._reader = reader

    def _begin(self, partition: int, earliest: int, end: int) -> Bond:
        """Bind a partition that never was: at the oldest record of the source, or behind what a backup brought. Raises
        OthersWrite.
        """
        own = self._ends[partition]
        restored = self._is_restored(partition, range(earliest, min(own, end)))
        if restored:
            log.info("%s partition %d: the copy was restored with %d records", self._topic, partition, own)
        return self._bind(partition, min(own, end) if restored else earliest)

    def _is_restored(self, partition: int, both: range) -> bool:
        """Say whether records at the offsets that both logs may hold are the same: some are looked at, and the last.
        Raises OthersWrite where only some are.
        """
        same = list[bool]()
        for at in sorted({*both[:: max(1, len(both) // _LOOKS)], *both[-1:]}):
            copy = self._target.value_at(self._topic, partition, at)
            original = read_one(*self._source, self._topic, partition, at)
            if copy is not None and original is not None and ERASED not in (copy, original):
                same.append(copy == original)
        if any(same) and not all(same):
            raise OthersWrite(
                f"{self._topic} partition {partition} of the copy: expected nothing behind what a backup of the "
                "original brought, got records of its own: an event, an item or a question came there. Restore it "
                "again, and keep traffic away"
            )
        return any(same)

    def _bind(self, partition: int, source: int) -> Bond:
        bond = Bond(source, self._ends[partition])
        self._target.bind(self._topic, partition, bond)
        self._bonds[partition] = bond
        return bond

    def _still_so(self, partition: int, bond: Bond, earliest: int, end: int) -> bool:
        """Say whether the newest record of the copy is the source's: it is not, where the source lost its last ones."""
        last = self._ends[partition] - 1
        at = bond.source_at(last)
        if at >= end:
            return False
        return last < bond.target or at < earliest or self._is_same(partition, bond, at) is not False

    def _is_same(self, partition: int, bond: Bond, at: int) -> bool | None:
        """Say whether the source's record is what the copy has of it; None where one of them has it no more."""
        copy = self._target.value_at(self._topic, partition, bond.target_at(at))
        original = read_one(*self._source, self._topic, partition, at)
        return None if copy is None or original is None or ERASED in (copy, original) else copy == original

    def _back(self, partition: int, bond: Bond, earliest: int, end: int) -> Bond:
        until = min(end, bond.source_at(self._ends[partition]))
        start = self._parted(partition, bond, earliest, until)
        self.copied.again += until - start
        log.warning(
            "%s partition %d: the source lost its last records; %d are copied again",
            self._topic,
            partition,
            until - start,
        )
        return self._bind(partition, start)

    def _parted(self, partition: int, bond: Bond, earliest: int, until: int) -> int:
        """Return from where on the source is read again: behind a record that the copy has, some way back. Of a source
        that was emptied and has other records by now there is none: all of it then.
        """
        back = BACK
        while until - back > earliest:
            before = until - back - 1
            if before <= bond.source:
                known = until > bond.source >= earliest and self._is_same(partition, bond, bond.source)
                return bond.source + 1 if known else earliest
            if self._is_same(partition, bond, before):
                return before + 1
            back *= 2
        return earliest

    def _rebind(self, gone: OffsetTrimmed) -> None:
        """Go on at the oldest record that the source has; or, where it ends before what was copied, look again."""
        if gone.wanted < gone.earliest:
            self.copied.trimmed += gone.earliest - gone.wanted
            log.warning("%s; the copy lacks %d records", gone, gone.earliest - gone.wanted)
            bond = self._bind(gone.partition, gone.earliest)
            assert self._reader is not None
            self._reader.seek(gone.partition, bond.source)
        else:
            self._let_go()

    def _let_go(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()


def read_one(settings: LogSettings, redis: RedisSettings, topic: Topic, partition: int, offset: int) -> bytes | None:
    """Return the value of a record; None where it is kept no more. Raises LogUnavailable."""
    with closing(open_reader(settings, redis, topic, [partition], GROUP)) as reader:
        reader.seek(partition, offset)
        try:
            batches = reader.poll(1, _WAIT_S)
        except OffsetTrimmed:
            return None
    found: Sequence[Message] = batches[0].messages if batches else ()
    return found[0].value if found and found[0].offset == offset else None


class LogMirror:
    """Copies every topic, a thread each."""

    def __init__(self, source: tuple[LogSettings, RedisSettings], open_target: Callable[[], Target]) -> None:
        """`open_target` gives each thread a target of its own."""
        self._targets = [open_target() for _ in Topic]
        self.topics = {
            topic: TopicMirror(source, target, topic) for topic, target in zip(Topic, self._targets, strict=True)
        }
        self._failed: list[BaseException] = []

    @property
    def seen_s(self) -> float | None:
        """When the original was looked at last; None until it was for every topic."""
        seen = [one.copied.seen_s for one in self.topics.values()]
        known = [at for at in seen if at is not None]
        return max(known) if len(known) == len(seen) else None

    def run(self, stopping: Stopping, *, until_copied: bool = False, told: Callable[[], None] = lambda: None) -> None:
        """Copy until told to stop; `told` is called each second. Raises what a topic could not go on from."""
        threads = [
            threading.Thread(target=self._one, args=(one, stopping, until_copied), name=f"mirror-{topic}")
            for topic, one in self.topics.items()
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(_TOLD_S) if threads[0].is_alive() else stopping.wait(_TOLD_S)
                told()
        finally:
            stopping.set()
            for thread in threads:
                thread.join()
            for target in self._targets:
                target.close()
        if self._failed:
            raise self._failed[0]
        told()

    def _one(self, mirror: TopicMirror, stopping: Stopping, until_copied: bool) -> None:
        try:
            mirror.run(stopping, until_copied=until_copied)
        except BaseException as error:
            self._failed.append(error)
            stopping.set()
