"""What only the Kafka log promises: its topics, and Kafka's own partitioning."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import KafkaAdminClient
from kafka.partitioner.default import murmur2 as kafkas_murmur2

from contracts.errors import LogUnavailable, SettingsError
from contracts.ids import murmur2, partition_of
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import DeadLetter, Record, Topic
from eventlog.open_log import open_dead_letters, open_reader, open_writer


@given(st.binary(max_size=300))
def test_our_hash_is_kafkas(key: bytes) -> None:
    assert murmur2(key) == kafkas_murmur2(key) & 0xFFFFFFFF


@given(st.text(min_size=1, max_size=50), st.integers(1, 64))
def test_a_site_that_produces_with_kafkas_partitioner_is_already_right(name: str, partitions: int) -> None:
    assert partition_of(name, partitions) == (kafkas_murmur2(name.encode()) & 0x7FFFFFFF) % partitions


@pytest.fixture
def admin(kafka_log_settings: LogSettings) -> Iterator[KafkaAdminClient]:
    with KafkaAdminClient(bootstrap_servers=kafka_log_settings.kafka) as opened:
        yield opened


@pytest.mark.kafka
def test_missing_topics_are_created_with_the_partitions_of_the_settings(
    kafka_log_settings: LogSettings, admin: KafkaAdminClient
) -> None:
    open_writer(kafka_log_settings, RedisSettings()).close()

    prefix = kafka_log_settings.topic_prefix
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics()}
    assert {name: count for name, count in found.items() if name.startswith(prefix)} == {
        f"{prefix}clicks": 4,
        f"{prefix}items": 4,
        f"{prefix}impressions": 4,
        f"{prefix}dead": 4,
    }


@pytest.mark.kafka
def test_a_topic_with_another_partition_count_is_refused_with_both_numbers(
    kafka_log_settings: LogSettings, admin: KafkaAdminClient
) -> None:
    name = f"{kafka_log_settings.topic_prefix}clicks"
    admin.create_topics({name: {"num_partitions": 3}}, wait_for_metadata=True)

    with pytest.raises(SettingsError, match=rf"{name}: expected 4 partitions .* it has 3"):
        open_writer(kafka_log_settings, RedisSettings())


@pytest.mark.kafka
def test_what_a_group_committed_shows_in_lag_tools(kafka_log_settings: LogSettings, admin: KafkaAdminClient) -> None:
    writer = open_writer(kafka_log_settings, RedisSettings())
    (position,) = writer.append(Topic.CLICKS, [Record("anna", b"click")])
    writer.close()
    group, committed = f"{kafka_log_settings.topic_prefix}sessions", dict[tuple[str, int], int]()
    until = time.monotonic() + 60
    while not committed and time.monotonic() < until:  # a reader that closes gives the broker a few seconds only
        reader = open_reader(kafka_log_settings, RedisSettings(), Topic.CLICKS, [0, 1, 2, 3], "sessions")
        reader.commit(position.partition, 1)
        reader.close()
        committed = {
            (where.topic, where.partition): found.offset
            for where, found in admin.list_group_offsets(group)[group].items()
            if found.offset >= 0
        }
    assert committed == {(f"{kafka_log_settings.topic_prefix}clicks", position.partition): 1}


@pytest.mark.parametrize("address", ["", "kafka", "kafka:many"])
def test_an_address_that_is_none_is_a_settings_error(address: str) -> None:
    with pytest.raises(SettingsError, match="expected host:port"):
        open_writer(LogSettings(kind="kafka", kafka=address), RedisSettings())


def test_without_a_broker_opening_the_log_says_so() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(LogUnavailable, match=r"Kafka at 127\.0\.0\.1:1 .* Check that a broker runs"):
            open_writer(LogSettings(kind="kafka", kafka="127.0.0.1:1"), RedisSettings())


@pytest.mark.kafka
def test_the_largest_record_that_the_log_takes_can_become_a_dead_letter(
    kafka_log_settings: LogSettings, redis_settings: RedisSettings
) -> None:
    larger = kafka_log_settings.model_copy(update={"max_record_bytes": 1024 * 1024})  # as a producer of one's own may
    writer = open_writer(larger, redis_settings)
    raw = b"x" * (1024 * 1024 - 100)
    writer.append(Topic.CLICKS, [Record("k", raw)])
    writer.dead_letter([DeadLetter("clicks:0:7", 0, "not_json", "y" * 300, 1_700_000_000_000, raw)])
    [letter] = open_dead_letters(kafka_log_settings, redis_settings).read(10)
    assert (letter.source, letter.detail, letter.raw) == ("clicks:0:7", "y" * 300, raw[:1_000_000])
    writer.close()
