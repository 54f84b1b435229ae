"""Where the topics of a Kafka log end, asked by one connection."""

from __future__ import annotations

from contextlib import closing

from kafka import TopicPartition

from contracts.settings import LogSettings
from eventlog.contract import Topic
from eventlog.kafka_client import REQUEST_MS, new_consumer, telling, topic_name


def kafka_ends(log: LogSettings) -> dict[str, list[int]]:
    """Return the next offset of each partition, by topic. Takes up to some seconds; raises LogUnavailable."""
    places = [(str(topic), TopicPartition(topic_name(log, topic), p)) for topic in Topic for p in range(log.partitions)]
    ends: dict[str, list[int]] = {str(topic): [] for topic in Topic}
    with telling(log, "look at the ends of its topics"), closing(new_consumer(log, None)) as consumer:
        found = consumer.end_offsets([place for _, place in places], timeout_ms=REQUEST_MS)
    for topic, place in places:
        ends[topic].append(found.get(place, 0))
    return ends
