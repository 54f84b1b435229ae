"""Reading from Kafka: partitions and offsets by hand. Commits are told to the broker for lag tools, no more."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from contracts.errors import OffsetTrimmed
from contracts.settings import LogSettings
from eventlog.contract import ERASED, Batch, Message, Topic
from eventlog.kafka_client import REQUEST_MS, new_consumer, telling, topic_name

_COMMIT_S = 1.0
_LOOK_S = 2.0


class KafkaLogReader:
    """LogReader on Kafka. kafka-python waits in silence for a broker that is gone, so an idle reader looks for it.

    `commit` is sent on at most once a second, and when the reader closes.
    Raises OffsetTrimmed also for an offset beyond the end (a topic made anew): reading on would skip records.
    """

    connections = 0

    def __init__(self, log: LogSettings, topic: Topic, partitions: Sequence[int], group: str) -> None:
        self._log, self._topic, self._group = log, topic, group
        self._partition = {number: TopicPartition(topic_name(log, topic), number) for number in partitions}
        self._next = dict.fromkeys(partitions, 0)
        self._unverified = set(partitions)
        self._consumer: KafkaConsumer | None = None
        self._commits: dict[TopicPartition, OffsetAndMetadata] = {}
        self._committed_s = self._looked_s = time.monotonic()

    def _ready(self) -> KafkaConsumer:
        if self._consumer is None:
            self._consumer = new_consumer(self._log, self._group)
            self._consumer.assign(list(self._partition.values()))
            for number, offset in self._next.items():
                self._consumer.seek(self._partition[number], offset)
        return self._consumer

    def seek(self, partition: int, offset: int) -> None:
        if partition not in self._next:
            raise ValueError(f"this reader has {self._topic} partitions {sorted(self._next)}, got {partition}")
        self._next[partition] = offset
        self._unverified.add(partition)
        if self._consumer is not None:
            self._consumer.seek(self._partition[partition], offset)

    def poll(self, max_records: int, max_wait_s: float) -> list[Batch]:
        if not self._next:
            time.sleep(max_wait_s)
            return []
        with telling(self._log, f"read {self._topic}"):
            try:
                consumer = self._ready()
                if self._unverified:
                    self._verify()
                self._send_commits()
                found = consumer.poll(timeout_ms=int(max_wait_s * 1000), max_records=max_records)
                if not found and time.monotonic() - self._looked_s > _LOOK_S:
                    self._verify()
            except OffsetOutOfRangeError:
                self._verify()
                raise
            except KafkaError:
                self._unverified.update(self._next)
                raise
        return [self._batch(where.partition, records) for where, records in found.items()]

    def _batch(self, partition: int, records: Sequence[Any]) -> Batch:
        messages = [Message(record.offset, record.value or b"") for record in records]
        start, self._next[partition] = self._next[partition], messages[-1].offset + 1
        kept = [one for one in messages if one.value != ERASED]  # a copy of a Redis log may hold some
        return Batch(self._topic, partition, start, self._next[partition], kept)

    def _verify(self) -> None:
        """Check that the broker answers, and that every wanted offset is one it can still give."""
        earliest, ends = self.earliest(), self.ends()
        for number, wanted in self._next.items():
            if not earliest[number] <= wanted <= ends[number]:
                raise OffsetTrimmed(self._topic, number, wanted, earliest[number])
        self._unverified.clear()
        self._looked_s = time.monotonic()

    def ends(self) -> Mapping[int, int]:
        with telling(self._log, f"look at {self._topic}"):
            found = self._ready().end_offsets(list(self._partition.values()), timeout_ms=REQUEST_MS)
        return {where.partition: offset for where, offset in found.items()}

    def earliest(self) -> Mapping[int, int]:
        with telling(self._log, f"look at {self._topic}"):
            found = self._ready().beginning_offsets(list(self._partition.values()), timeout_ms=REQUEST_MS)
        return {where.partition: offset for where, offset in found.items()}

    def commit(self, partition: int, next_offset: int) -> None:
        self._commits[self._partition[partition]] = OffsetAndMetadata(next_offset, "", -1)
        with telling(self._log, f"commit {self._topic}"):
            self._send_commits()

    def hold(self, partition: int, offset: int) -> None:
        """The topic's retention decides."""

    def _send_commits(self) -> None:
        if self._commits and time.monotonic() - self._committed_s > _COMMIT_S:
            commits, self._commits = self._commits, {}
            self._committed_s = time.monotonic()
            self._ready().commit_async(commits)

    def close(self) -> None:
        with suppress(KafkaError, OSError):  # lag tools then see an older offset; nobody resumes from it
            if self._commits:
                self._ready().commit(self._commits, timeout_ms=REQUEST_MS)
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close(autocommit=False, timeout_ms=REQUEST_MS)
