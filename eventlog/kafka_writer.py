"""Appending to Kafka: the partition is ours to choose, an append is done when every record is acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from contracts.ids import partition_of
from contracts.settings import LogSettings
from eventlog.coalesce import Coalescer
from eventlog.contract import DeadLetter, Position, Record, Topic, expect_fits
from eventlog.kafka_client import DEAD_LETTERS, DELIVERY_MS, REQUEST_MS, new_producer, telling, topic_name

_WAIT_S = (DELIVERY_MS + REQUEST_MS) / 1000
_CLOSE_S = 1.0
_MOST_RAW = 1_000_000
"""Bytes of a record that its dead letter keeps: a record that just fits the log (1 MiB, by Kafka's own default) must
fit once more with its reason, or whoever reads it would wait at it for ever."""


class KafkaLogWriter:
    """LogWriter on Kafka. The backlog has no limit of ours: retention is the broker's.

    The producer is made when first needed, and anew after it gave up on a record: its sequence may have a hole.
    """

    def __init__(self, log: LogSettings) -> None:
        self._log = log
        self._producer: KafkaProducer | None = None

    def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        expect_fits(topic, records, self._log.max_record_bytes)
        name, partitions = topic_name(self._log, topic), self._log.partitions

        def send(producer: KafkaProducer) -> list[Any]:
            return [
                producer.send(name, record.value, record.key.encode(), partition=partition_of(record.key, partitions))
                for record in records
            ]

        return self._acknowledged(f"append to {topic}", send)

    def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        name = topic_name(self._log, DEAD_LETTERS)

        def send(producer: KafkaProducer) -> list[Any]:
            return [
                producer.send(
                    name,
                    letter.raw[:_MOST_RAW],
                    letter.source.encode(),
                    headers=[("reason", letter.reason.encode()), ("detail", letter.detail.encode())],
                    partition=letter.partition,
                    timestamp_ms=letter.at_ms,
                )
                for letter in letters
            ]

        self._acknowledged("write dead letters", send)

    def _acknowledged(self, what: str, send: Callable[[KafkaProducer], list[Any]]) -> list[Position]:
        with telling(self._log, what):
            if self._producer is None:
                self._producer = new_producer(self._log)
            try:
                acknowledged = [future.get(timeout=_WAIT_S) for future in send(self._producer)]
            except KafkaError:
                self.close()
                raise
        return [Position(record.partition, record.offset) for record in acknowledged]

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError):  # what it still held was never acknowledged
                producer.close(timeout=_CLOSE_S)


class KafkaAsyncLogWriter:
    """AsyncLogWriter on Kafka: one thread that appends for everybody who waits, so the event loop never does."""

    def __init__(self, log: LogSettings) -> None:
        self._writer, self._most_bytes = KafkaLogWriter(log), log.max_record_bytes
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-log")
        self._together = Coalescer(self._append, gather_s=log.gather_ms / 1000)

    async def append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        expect_fits(topic, records, self._most_bytes)
        return await self._together.append(topic, records)

    async def _append(self, topic: Topic, records: Sequence[Record]) -> list[Position]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.append, topic, records)

    async def dead_letter(self, letters: Sequence[DeadLetter]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.dead_letter, letters)

    async def close(self) -> None:
        await self._together.drain()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown()
