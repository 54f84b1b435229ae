"""A log under test, and what its suite does with one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import redis

from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import AsyncLogWriter, DeadLetterReader, LogReader, LogWriter, Message, Record, Topic
from eventlog.open_log import open_async_writer, open_dead_letters, open_reader, open_writer

ALL = range(4)


@dataclass
class Log:
    """A real log, and a way to crash its server and to bring it back."""

    settings: LogSettings
    redis: RedisSettings
    kill: Callable[[], None]
    start: Callable[[], None]
    opened: list[Any] = field(default_factory=list)

    def writer(self) -> LogWriter:
        return self._kept(open_writer(self.settings, self.redis))

    def reader(self, topic: Topic = Topic.CLICKS, partitions: Any = ALL, group: str = "sessions") -> LogReader:
        return self._kept(open_reader(self.settings, self.redis, topic, list(partitions), group))

    def letters(self) -> DeadLetterReader:
        return self._kept(open_dead_letters(self.settings, self.redis))

    def async_writer(self) -> AsyncLogWriter:
        return open_async_writer(self.settings, self.redis)

    def _kept(self, opened: Any) -> Any:
        self.opened.append(opened)
        return opened


def clicks(session: str, count: int, start: int = 0) -> list[Record]:
    return [Record(session, f"{session}:{at}".encode()) for at in range(start, start + count)]


def read_all(reader: LogReader, count: int, max_records: int = 500) -> list[tuple[int, Message]]:
    """Read until `count` messages came; fails after a minute."""
    found: list[tuple[int, Message]] = []
    until = time.monotonic() + 60
    while len(found) < count and time.monotonic() < until:
        for batch in reader.poll(max_records, 0.2):
            assert [message.offset for message in batch.messages] == sorted(m.offset for m in batch.messages)
            assert batch.start <= batch.messages[0].offset
            assert batch.next == batch.messages[-1].offset + 1
            assert len(batch.messages) <= max_records
            found.extend((batch.partition, message) for message in batch.messages)
    assert len(found) == count
    return found


def lose_the_last_records(settings: RedisSettings, partitions: int, count: int) -> None:
    """Roll each partition of the clicks back, as a disk that was full does."""
    keys = Keys(settings.prefix)
    with redis.Redis.from_url(settings.url) as client:
        for partition in range(partitions):
            stream, end = keys.log("clicks", partition), keys.log_end("clicks", partition)
            entries: Any = client.xrange(stream)
            client.delete(stream)  # a stream that was longer says so since Redis 7, and takes no such ids again
            for entry, fields in entries[:-count]:
                client.xadd(stream, fields, entry)
            client.decrby(end, len(entries[-count:]))
