"""Logs that a mirror writes. Bonds are kept in the target deployment's Redis, whichever log it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

from contracts.errors import LogFull, LogUnavailable, SettingsError
from contracts.keys import Keys
from contracts.redis_answers import whole
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Topic
from eventlog.mirroring import GROUP, Bond, read_one
from eventlog.open_log import open_reader
from eventlog.redis_append import Kept, append
from eventlog.redis_calls import Caller

_OF = "of"
"""Which deployment a copy is of."""
_UNTIL = "until"
"""Before a topic and partition: up to which offset the mirror is about to write."""
_ENDED = "ended"
"""Which one it was of, until its mirror was ended for good."""
_BIND = """
if not redis.call('HGET', KEYS[1], 'of') then
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'of', ARGV[1])
end
"""
"""Bonds of an original of before are none of this one's."""


def name_of(log: LogSettings, redis: RedisSettings) -> str:
    """Return what tells one deployment's log from another's, without a password."""
    return f"kafka {log.kafka} {log.topic_prefix}" if log.kind == "kafka" else f"redis {redis.place} {redis.prefix}"


class _Bonds:
    """The bonds of a copy, in its Redis."""

    def __init__(self, log: LogSettings, redis: RedisSettings, of: str) -> None:
        self._log, self._settings = log, redis
        self._key = Keys(redis.prefix).mirror()
        self._redis = Caller(redis)
        self._of = of
        self._expect()

    def _expect(self) -> None:
        [[found, ended]] = self._redis.run("look at the mirror", [("HMGET", self._key, _OF, _ENDED)])
        if found is not None and found.decode() != self._of:
            raise SettingsError(
                f"expected the copy of {self._of}, got the copy of {found.decode()}: a log has one original. Name an "
                "empty deployment; or, when the old mirror is over for good: nextclick mirror TARGET --end"
            )
        if found is None and ended is not None and ended.decode() == self._of:
            raise SettingsError(
                f"expected a copy of {self._of}, got one that was ended (--end): it is a deployment of its own. "
                "Where that was a mistake, and nothing else has written there: nextclick mirror TARGET --again"
            )

    def bonds(self, topic: Topic) -> Mapping[int, Bond]:
        fields = [f"{topic}:{at}" for at in range(self._log.partitions)]
        [[of, *found]] = self._redis.run("look at the mirror", [("HMGET", self._key, _OF, *fields)])
        if of is None:
            return {}
        return {at: self._bond(fields[at], one) for at, one in enumerate(found) if one is not None}

    def _bond(self, field: str, kept: bytes) -> Bond:
        source, colon, target = kept.partition(b":")
        if not (colon and source.isdigit() and target.isdigit()):
            raise SettingsError(
                f"{self._key} in the copy's Redis: expected two offsets in {field}, got {kept[:40]!r}: which record is "
                "which is not known any more. Name an empty deployment, or put the field right"
            )
        return Bond(int(source), int(target))

    def announce(self, topic: Topic, partition: int, end: int) -> None:
        self._redis.run_kept("go on with a mirror", [("HSET", self._key, f"{_UNTIL}:{topic}:{partition}", end)])

    def announced(self, topic: Topic) -> Mapping[int, int]:
        fields = [f"{_UNTIL}:{topic}:{at}" for at in range(self._log.partitions)]
        [[of, *found]] = self._redis.run("look at the mirror", [("HMGET", self._key, _OF, *fields)])
        if of is None:
            return {}
        return {at: end for at, one in enumerate(found) if (end := whole(one)) is not None}

    def bind(self, topic: Topic, partition: int, bond: Bond) -> None:
        # Not before: whoever names an original that is not there has made no copy of it.
        self._redis.run_kept("begin a mirror", [("EVAL", _BIND, 1, self._key, self._of)])
        self._expect()
        command = ("HSET", self._key, f"{topic}:{partition}", f"{bond.source}:{bond.target}")
        self._redis.run_kept("begin a mirror", [command])

    def ends(self, topic: Topic) -> Mapping[int, int]:
        with closing(open_reader(self._log, self._settings, topic, range(self._log.partitions), GROUP)) as reader:
            return reader.ends()

    def value_at(self, topic: Topic, partition: int, offset: int) -> bytes | None:
        return read_one(self._log, self._settings, topic, partition, offset)

    def close(self) -> None:
        self._redis.close()


class RedisTarget(_Bonds):
    """Target on Redis Streams, for one thread."""

    def append(self, topic: Topic, partition: int, values: Sequence[bytes]) -> int:
        limit = self._log.max_backlog if topic is Topic.CLICKS else 0
        command = append(Keys(self._settings.prefix), topic, partition, Kept.of(topic, self._log, limit), values)
        [(first, backlog)] = self._redis.run_kept(f"append to {topic}", [command])
        if first < 0:
            raise LogFull(f"{topic} partition {partition} of the copy: {backlog} wait to be applied; its flows go on")
        return int(first)


class KafkaTarget(_Bonds):
    """Target on Kafka, for one thread."""

    def __init__(self, log: LogSettings, redis: RedisSettings, of: str) -> None:
        from eventlog.kafka_client import ensure_topics

        super().__init__(log, redis, of)
        ensure_topics(log)
        self._producer: Any = None

    def append(self, topic: Topic, partition: int, values: Sequence[bytes]) -> int:
        from kafka.errors import KafkaError

        from eventlog.kafka_client import DELIVERY_MS, REQUEST_MS, new_producer, telling, topic_name

        name, wait_s = topic_name(self._log, topic), (DELIVERY_MS + REQUEST_MS) / 1000
        with telling(self._log, f"append to {topic}"):
            if self._producer is None:
                self._producer = new_producer(self._log)
            try:
                sent = [self._producer.send(name, value, partition=partition) for value in values]
                offsets = [future.get(timeout=wait_s).offset for future in sent]
            except KafkaError:
                self._drop()
                raise
        if offsets[-1] != offsets[0] + len(values) - 1:
            raise LogUnavailable(f"{name} partition {partition}: records of others, or markers, stand between ours")
        return int(offsets[0])

    def close(self) -> None:
        self._drop()
        super().close()

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=1.0)


def open_target(log: LogSettings, redis: RedisSettings, of: str) -> RedisTarget | KafkaTarget:
    """Open a log that becomes the copy of `of`. Raises SettingsError where it is another's copy, LogUnavailable."""
    return RedisTarget(log, redis, of) if log.kind == "redis" else KafkaTarget(log, redis, of)
