"""What of the Redis log is kept: bounded in bytes, nothing that must be applied trimmed, late readers waited for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import LogFull
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogReader, RedisLogWriter
from eventlog.redis_size import RedisLogSize

LOG = LogSettings(partitions=1, kept_bytes=1_600_000, max_backlog_bytes=8_000_000, wait_bytes=3_200_000)
STEP = 100_000
BIG = 100_000


@pytest.fixture
def client(redis_settings: RedisSettings) -> Iterator[redis.Redis]:
    opened = redis.Redis.from_url(redis_settings.url)
    yield opened
    opened.close()


@dataclass
class Partition:
    """One partition under test, and those who read it."""

    redis: RedisSettings
    topic: Topic = Topic.CLICKS
    log: LogSettings = LOG
    readers: dict[str, RedisLogReader] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.writer = RedisLogWriter(self.log, self.redis)
        for group in ("sessions", "trends"):
            self.readers[group] = RedisLogReader(self.redis, self.topic, [0], group)

    def append(self, count: int, size: int = BIG) -> int:
        """Append records one by one; returns the end."""
        for _ in range(count):
            end = self.writer.append(self.topic, [Record("anna", b"x" * size)])[-1].offset + 1
        return end

    def apply(self, offset: int) -> None:
        self.readers["sessions"].commit(0, offset)

    def hold(self, offset: int) -> None:
        self.readers["trends"].hold(0, offset)

    @property
    def earliest(self) -> int:
        return self.readers["sessions"].earliest()[0]

    def close(self) -> None:
        for one in (self.writer, *self.readers.values()):
            one.close()


@pytest.fixture
def partition(redis_settings: RedisSettings) -> Iterator[Partition]:
    made = Partition(redis_settings)
    yield made
    made.close()


def test_a_hundred_large_events_are_not_kept_for_their_small_number(partition: Partition, client: redis.Redis) -> None:
    for _ in range(100):
        partition.apply(partition.append(1))
    assert 16 <= 100 - partition.earliest <= 18
    kept = client.memory_usage(Keys(partition.redis.prefix).log("clicks", 0), samples=0)
    assert kept < 2 * 1_800_000


def test_impressions_are_bounded_in_bytes_too(redis_settings: RedisSettings) -> None:
    impressions = Partition(redis_settings, Topic.IMPRESSIONS)
    impressions.append(100)
    assert 16 <= 100 - impressions.earliest <= 18
    impressions.close()


def test_what_is_not_applied_stays_and_too_much_of_it_is_refused_by_its_bytes(partition: Partition) -> None:
    with pytest.raises(
        LogFull, match=r"8[01]00000 bytes wait to be applied, the limit is 8000000: .*max_backlog_bytes"
    ):
        partition.append(100)
    assert partition.earliest == 0
    end = partition.readers["sessions"].ends()[0]
    assert 80 <= end <= 82
    partition.apply(end)
    assert partition.append(1) == end + 1


def test_items_that_wait_are_refused_by_their_bytes_as_well(redis_settings: RedisSettings) -> None:
    items = Partition(redis_settings, Topic.ITEMS)
    with pytest.raises(LogFull, match="items partition 0: "):
        items.append(100)
    items.close()


def test_trimming_waits_for_the_trends_flow_as_long_as_settings_allow(partition: Partition) -> None:
    partition.append(1)
    partition.hold(1)
    for _ in range(46):
        partition.apply(partition.append(1))
    assert partition.earliest == 1
    for _ in range(53):
        partition.apply(partition.append(1))
    assert 48 <= 100 - partition.earliest <= 50  # 1.6 and 3.2 MB; the rest is lost to it

    partition.hold(99)
    partition.apply(partition.append(2))
    assert 16 <= 102 - partition.earliest <= 18


def test_a_flow_that_never_read_is_not_waited_for_nor_is_any_where_that_is_off(redis_settings: RedisSettings) -> None:
    for log, hold in ((LOG, None), (LOG.model_copy(update={"wait_bytes": 0}), 1)):
        partition = Partition(replace_prefix(redis_settings), log=log)
        if hold is not None:
            partition.hold(hold)
        for _ in range(60):
            partition.apply(partition.append(1))
        assert 16 <= 60 - partition.earliest <= 18
        partition.close()


def test_by_the_number_of_records_trimming_waits_too(redis_settings: RedisSettings) -> None:
    partition = Partition(redis_settings, log=LOG.model_copy(update={"kept_records": 100}))
    partition.hold(0)
    for _ in range(4):
        end = partition.writer.append(Topic.CLICKS, [Record("anna", b"small")] * 1000)[-1].offset + 1
        partition.apply(end)
    assert partition.earliest == 0
    partition.hold(end)
    partition.append(1, 5)
    assert partition.earliest >= 3000
    partition.close()


def replace_prefix(settings: RedisSettings) -> RedisSettings:
    return settings.model_copy(update={"prefix": f"t{uuid.uuid4().hex[:12]}"})


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 12), st.sampled_from([10, 3_000, 70_000, 250_000])),
        st.tuples(st.just("apply"), st.integers(0, 100), st.just(0)),
        st.tuples(st.just("hold"), st.integers(0, 100), st.just(0)),
    ),
    max_size=60,
)


@dataclass
class Plain:
    """The plain form of the rule: sizes of all records there ever were, and what of them must be there."""

    sizes: list[int] = field(default_factory=list)
    applied: int = 0
    hold: int | None = None

    def bytes_from(self, offset: int) -> int:
        return sum(self.sizes[offset:])

    def must_be_there(self, waits: bool = True) -> int:
        """Return from which offset on every record has to be there: never later than this."""
        end = len(self.sizes)
        kept = next((at for at in range(end) if self.bytes_from(at) <= LOG.kept_bytes), end)
        if waits and self.hold is not None:
            limit = LOG.kept_bytes + LOG.wait_bytes
            kept = min(kept, max(self.hold, next((at for at in range(end) if self.bytes_from(at) <= limit), end)))
        return min(kept, self.applied)


@given(STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_what_must_be_kept_is_and_the_rest_is_bounded(
    redis_settings: RedisSettings, steps: list[tuple[str, int, int]]
) -> None:
    partition, plain = Partition(replace_prefix(redis_settings)), Plain()
    for what, number, size in steps:
        end = len(plain.sizes)
        if what == "append":
            try:
                partition.writer.append(Topic.CLICKS, [Record("anna", b"x" * size)] * number)
            except LogFull:
                assert plain.bytes_from(plain.applied) + STEP + 12 * 250_000 >= LOG.max_backlog_bytes
                continue
            plain.sizes += [size] * number
            earliest = partition.earliest
            assert earliest <= plain.must_be_there()
            slack = 2 * STEP + 12 * 250_000  # a step, a batch, and a node
            if plain.applied == end and plain.hold is None:
                assert plain.bytes_from(earliest) <= LOG.kept_bytes + slack
            waiting = max(0, plain.bytes_from(plain.applied))
            assert plain.bytes_from(earliest) <= LOG.kept_bytes + LOG.wait_bytes + waiting + slack
        elif what == "apply":
            plain.applied = max(plain.applied, end * number // 100)
            partition.apply(plain.applied)
        else:
            plain.hold = max(plain.hold or 0, end * number // 100)
            partition.hold(plain.hold)
    partition.close()


async def test_the_size_of_every_topic_is_told(redis_settings: RedisSettings) -> None:
    clicks, items = Partition(redis_settings), Partition(redis_settings, Topic.ITEMS)
    size = RedisLogSize(LOG, redis_settings)
    assert await size.by_topic() == {"clicks": 0, "items": 0, "impressions": 0}
    items.append(3, 1000)
    for _ in range(100):
        clicks.apply(clicks.append(1))
    told = await size.by_topic()
    assert (told["items"], told["impressions"]) == (3000, 0)
    assert 1_600_000 <= told["clicks"] <= 1_800_000
    await size.close()
    clicks.close()
    items.close()
