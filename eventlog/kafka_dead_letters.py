"""Dead letters in Kafka: the records of a topic, and among them marks that name letters which were removed.

A topic cannot give up single records. So a removal is a record of the letter's partition, behind it: its value is a
JSON array of names. A letter of a log record is named by its source, any other by its source and offset, so a letter
that was written twice is one letter, and one that was removed does not come back when a flow writes it again.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from contracts.settings import LogSettings
from eventlog.contract import DeadLetter, KeptLetter, Position
from eventlog.kafka_client import (
    DEAD_LETTERS,
    DELIVERY_MS,
    REQUEST_MS,
    new_consumer,
    new_producer,
    telling,
    topic_name,
)
from eventlog.redis_dead_letters import KEPT_LETTERS, UNREADABLE, partitions_of

_REMOVED = "removed"
"""The key of a mark, and its one header."""
_NAMES_EACH = 5000
"""Names in one mark: some 300 KB, where the log takes 1 MiB."""
_MARKS = 2000
"""Records of a partition that are read beside KEPT_LETTERS, since some of them are marks."""
_WAIT_S = (DELIVERY_MS + REQUEST_MS) / 1000
_CLOSE_S = 1.0


class KafkaDeadLetters:
    """DeadLetterReader on Kafka. Of each partition the newest KEPT_LETTERS are read."""

    def __init__(self, log: LogSettings) -> None:
        self._log = log
        self._producer: KafkaProducer | None = None

    def read(self, max_letters: int) -> list[DeadLetter]:
        found = enumerate(one.letter for one in self.kept())
        newest = heapq.nlargest(max_letters, found, key=lambda numbered: (numbered[1].at_ms, numbered[0]))
        return [letter for _, letter in reversed(newest)]

    def count(self) -> int:
        """Return how many letters are kept. Reads them."""
        with self._consumer() as consumer:
            return sum(len(_kept_offsets(consumer, *span)) for span in self._spans(consumer, None))

    def kept(self, partitions: Collection[int] | None = None) -> Iterator[KeptLetter]:
        with self._consumer() as consumer:
            for where, start, end in self._spans(consumer, partitions):
                wanted = _kept_offsets(consumer, where, start, end)
                if not wanted:
                    continue
                for record in _records(consumer, where, min(wanted), max(wanted) + 1):
                    if record.offset in wanted:
                        yield KeptLetter(Position(record.partition, record.offset), _letter(record))

    def remove(self, letters: Sequence[KeptLetter]) -> None:
        by_partition: dict[int, list[str]] = {}
        for position, letter in letters:
            by_partition.setdefault(position.partition, []).append(_name(letter.source, position.offset))
        marks = [
            (partition, orjson.dumps(names[at : at + _NAMES_EACH]))
            for partition, names in by_partition.items()
            for at in range(0, len(names), _NAMES_EACH)
        ]
        if marks:
            self._send(marks)

    def _send(self, marks: Sequence[tuple[int, bytes]]) -> None:
        name, key, headers = topic_name(self._log, DEAD_LETTERS), _REMOVED.encode(), [(_REMOVED, b"1")]
        with telling(self._log, "remove dead letters"):
            if self._producer is None:
                self._producer = new_producer(self._log)
            try:
                sent = [self._producer.send(name, value, key, headers=headers, partition=at) for at, value in marks]
                for future in sent:
                    future.get(timeout=_WAIT_S)
            except KafkaError:  # its sequence may have a hole
                self.close()
                raise

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):
                producer.close(timeout=_CLOSE_S)

    @contextmanager
    def _consumer(self) -> Iterator[KafkaConsumer]:
        with telling(self._log, "read dead letters"):
            consumer = new_consumer(self._log, None)
            try:
                yield consumer
            finally:
                consumer.close(autocommit=False, timeout_ms=REQUEST_MS)

    def _spans(
        self, consumer: KafkaConsumer, partitions: Collection[int] | None
    ) -> list[tuple[TopicPartition, int, int]]:
        """Return where the newest records of each partition begin and end, for those that have any."""
        name = topic_name(self._log, DEAD_LETTERS)
        where = [TopicPartition(name, at) for at in partitions_of(partitions, self._log.partitions)]
        ends = consumer.end_offsets(where, timeout_ms=REQUEST_MS)
        starts = consumer.beginning_offsets(where, timeout_ms=REQUEST_MS)
        spans = [(at, max(starts[at], ends[at] - KEPT_LETTERS - _MARKS), ends[at]) for at in where]
        return [(at, start, end) for at, start, end in spans if start < end]


def _kept_offsets(consumer: KafkaConsumer, where: TopicPartition, start: int, end: int) -> set[int]:
    """Return where the letters stand that are kept: each once, those that were removed left out. Holds names alone."""
    first: dict[str, int] = {}
    removed: set[str] = set()
    for record in _records(consumer, where, start, end):
        if _is_mark(record):
            removed.update(_names_in(record.value))
        else:
            first.setdefault(_name(_text(record.key), record.offset), record.offset)
    kept = [offset for name, offset in first.items() if name not in removed]
    return set(kept[-KEPT_LETTERS:])


def _records(consumer: KafkaConsumer, where: TopicPartition, start: int, end: int) -> Iterator[Any]:
    """Yield the records of a partition from `start` up to `end`. Raises KafkaError when they stop coming before."""
    consumer.assign([where])
    consumer.seek(where, start)
    until = time.monotonic() + REQUEST_MS / 1000
    while consumer.position(where) < end:
        found = consumer.poll(timeout_ms=100).get(where, ())
        if found:
            until = time.monotonic() + REQUEST_MS / 1000
        elif time.monotonic() > until:
            raise KafkaError("the dead letters stopped coming before their end")
        yield from (record for record in found if record.offset < end)


def _is_mark(record: Any) -> bool:
    return any(name == _REMOVED for name, _ in record.headers)


def _names_in(mark: bytes | None) -> list[str]:
    """Return the names that a mark holds; none of one that is damaged: its letters are shown again."""
    try:
        names = orjson.loads(mark or b"[]")
    except orjson.JSONDecodeError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


def _name(source: str, offset: int) -> str:
    return source if ":" in source else f"{source}@{offset}"


def _letter(record: Any) -> DeadLetter:
    """Return a letter as it is kept; what of it cannot be read is left empty, and its reason is `unreadable` then."""
    headers = dict(record.headers)
    return DeadLetter(
        source=_text(record.key),
        partition=record.partition,
        reason=_text(headers.get("reason")) or UNREADABLE,
        detail=_text(headers.get("detail")),
        at_ms=record.timestamp,
        raw=record.value or b"",
    )
