"""Which log: the settings say, the caller need not know."""

from __future__ import annotations

from collections.abc import Sequence

from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import AsyncLogWriter, DeadLetterReader, LogReader, LogWriter, Topic
from eventlog.redis_dead_letters import RedisDeadLetters
from eventlog.redis_log import RedisAsyncLogWriter, RedisLogReader, RedisLogWriter


def open_writer(log: LogSettings, redis: RedisSettings) -> LogWriter:
    """Open the log for appending from a thread.

    The Redis log connects when first used. Kafka is asked for its topics, which are created where missing:
    raises LogUnavailable without a broker, SettingsError when a topic has another number of partitions.
    """
    if log.kind == "redis":
        return RedisLogWriter(log, redis)
    from eventlog.kafka_client import ensure_topics  # kafka-python takes long to import: only who needs it pays
    from eventlog.kafka_writer import KafkaLogWriter

    ensure_topics(log)
    return KafkaLogWriter(log)


def open_async_writer(log: LogSettings, redis: RedisSettings) -> AsyncLogWriter:
    """Open the log for appending from an event loop; otherwise as `open_writer` (it asks Kafka before it returns)."""
    if log.kind == "redis":
        return RedisAsyncLogWriter(log, redis)
    from eventlog.kafka_client import ensure_topics
    from eventlog.kafka_writer import KafkaAsyncLogWriter

    ensure_topics(log)
    return KafkaAsyncLogWriter(log)


def open_reader(
    log: LogSettings, redis: RedisSettings, topic: Topic, partitions: Sequence[int], group: str
) -> LogReader:
    """Open some partitions of a topic for one consumer group; otherwise as `open_writer`."""
    if log.kind == "redis":
        return RedisLogReader(redis, topic, partitions, group)
    from eventlog.kafka_client import ensure_topics
    from eventlog.kafka_reader import KafkaLogReader

    ensure_topics(log)
    return KafkaLogReader(log, topic, partitions, group)


def open_dead_letters(log: LogSettings, redis: RedisSettings) -> DeadLetterReader:
    """Open the dead letters for reading; otherwise as `open_writer`."""
    if log.kind == "redis":
        return RedisDeadLetters(log, redis)
    from eventlog.kafka_client import ensure_topics
    from eventlog.kafka_dead_letters import KafkaDeadLetters

    ensure_topics(log)
    return KafkaDeadLetters(log)
