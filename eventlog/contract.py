"""The event log's contract. Two implementations keep it (Redis Streams, Kafka), and one test suite holds both to it.

A topic has a fixed number of partitions; a record goes to `partition_of(record.key)` and gets that partition's
next offset. What `append` returned for is durable and is read back in offset order, per partition. Offsets grow;
they may have gaps (Kafka), so a batch says where it started and where the next one starts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from contracts.errors import RecordTooLarge
from contracts.events import Rejection


class Topic(StrEnum):
    CLICKS = "clicks"
    """Everything visitors do, keyed by session id."""
    ITEMS = "items"
    """Catalogue and stock changes, keyed by item id: one topic, so that a put and a stock update keep their order."""
    IMPRESSIONS = "impressions"
    """What was shown, keyed by session id."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is appended. The key picks the partition."""

    key: str
    value: bytes

    @property
    def size(self) -> int:
        """Characters of the key and bytes of the value: what `LogSettings.max_record_bytes` bounds."""
        return len(self.key) + len(self.value)


def expect_fits(topic: Topic, records: Sequence[Record], most_bytes: int) -> None:
    """Raise RecordTooLarge for the first record that is larger than the log takes."""
    for at, record in enumerate(records):
        if record.size > most_bytes:
            raise RecordTooLarge(
                f"record {at} of {len(records)} for {topic} has {record.size} bytes, expected at most {most_bytes}: "
                "send less with it, or raise NEXTCLICK_LOG__MAX_RECORD_BYTES (with Kafka, also message.max.bytes)"
            )


ERASED: Final = b"\x00erased"
"""The value of a record that was erased: nothing that a gateway takes is like it, as it is no JSON."""


class Message(NamedTuple):
    """What is read back."""

    offset: int
    value: bytes


class Position(NamedTuple):
    """Where a record stands. As text it is the events token, `p3:88121`."""

    partition: int
    offset: int

    @property
    def token(self) -> str:
        return f"p{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, token: str) -> Position:
        """Parse `p3:88121`. Raises ValueError on anything else."""
        partition, colon, offset = token.partition(":")
        if not colon or not partition.startswith("p"):
            raise ValueError(f"expected a token such as p3:88121, got {token!r}")
        return cls(int(partition[1:]), int(offset))


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one partition in offset order. `start` is where the read began, `next` where the next begins."""

    topic: Topic
    partition: int
    start: int
    next: int
    messages: Sequence[Message]

    def letter(self, offset: int, raw: bytes, why: Rejection, *, now_ms: int) -> DeadLetter:
        """Return the dead letter of one of this batch's messages, named after the place where it stands."""
        source = f"{self.topic}:{self.partition}:{offset}"
        return DeadLetter(source, self.partition, why.reason, why.detail, now_ms, raw)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something that could not be taken. `source` says where it stood: `clicks:3:88121`, or `gateway`."""

    source: str
    partition: int
    reason: str
    detail: str
    at_ms: int
    raw: bytes


class KeptLetter(NamedTuple):
    """A dead letter and where it is kept, which is its name: as text `p3:17`."""

    position: Position
    letter: DeadLetter


class LogWriter(Protocol):
    """Appends, from a thread."""

    def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        """Append records; returns their positions, in the order given, once all are durable.

        Raises LogUnavailable (LogFull when the backlog limit is reached). Some of the records may then have
        been taken: append again, readers count an event id once. Raises RecordTooLarge, with nothing taken, for a
        record over `LogSettings.max_record_bytes`; others whose records would have shared the append get theirs.
        """

    def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        """Keep what could not be taken. The same (source, partition) twice is kept once where the log can tell."""

    def close(self) -> None: ...


class AsyncLogWriter(Protocol):
    """The same from an event loop."""

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]: ...

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None: ...

    async def close(self) -> None: ...


class LogReader(Protocol):
    """Reads some partitions of one topic for one consumer group, from one thread."""

    connections: int
    """How many connections it has made to a log that may have lost its last records when it comes back, and have given
    their offsets to others; 0 where a log keeps what it has answered.
    """

    def seek(self, partition: int, offset: int) -> None:
        """Read on from `offset`. Partitions start at 0 until told otherwise."""

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        """Return what is there, one batch a partition at most; wait up to `max_wait_s` when there is nothing.

        `max_records` bounds each batch. Raises OffsetTrimmed when a wanted offset is gone (or lies beyond the end:
        the log was emptied), LogUnavailable when the log cannot be read.
        """

    def ends(self) -> Mapping[int, int]:
        """Return each partition's end: the offset that its next record gets."""

    def earliest(self) -> Mapping[int, int]:
        """Return the oldest offset kept, per partition (its end, when empty)."""

    def commit(self, partition: int, next_offset: int) -> None:
        """Tell the log how far this group has applied: lag tools see it, trimming may follow it. Not the truth
        that a consumer resumes from: that stands beside its state.
        """

    def hold(self, partition: int, offset: int) -> None:
        """Tell the log from where on this group would have to read again if it died now: trimming waits, as long as
        settings allow. A log that keeps its records by itself is told nothing.
        """

    def close(self) -> None: ...


class DeadLetterReader(Protocol):
    def read(self, max_letters: int) -> list[DeadLetter]:
        """Return the newest dead letters of all partitions, oldest first."""

    def count(self) -> int:
        """Return how many dead letters are kept."""

    def kept(self, partitions: Collection[int] | None = None) -> Iterator[KeptLetter]:
        """Yield the letters that are kept, one partition after the other (all when None), oldest first in each.

        Those that are written meanwhile need not come; removing those that came does no harm. Raises LogUnavailable,
        and ValueError for a partition that the log has not.
        """

    def remove(self, letters: Sequence[KeptLetter]) -> None:
        """Take letters out, durably. A letter of the same record does not come back when a flow reads it again.

        Raises LogUnavailable: some may be gone then; remove again. Letters that are gone already do no harm.
        """

    def close(self) -> None: ...
