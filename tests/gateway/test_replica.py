"""Following a table: nothing missed, nothing kept that is gone, and the loop never held long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from contracts.codec import encode_trend
from contracts.settings import RedisSettings
from eventlog.contract import Position
from gateway.background import running
from gateway.replica import RETRY_S, Replica, Rows
from gateway.replicas import into_trends
from retrieval.trend_columns import TrendColumns
from state.async_tables import AsyncTableReader
from state.change_arrays import ChangeArrays
from state.embedded import EmbeddedRedis
from state.tables import Source, TableWriter
from tests.redis_cut import losing_what_is_written
from tests.rerank.shop import NOW, trend


class Memory:
    """Rows in a dict; refuses a row that says so."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}
        self.slices: list[int] = []

    def apply(self, rows: Rows) -> None:
        if any(row == b"broken" for _, row in rows):
            raise ValueError("a row of another release")
        self.slices.append(len(rows))
        for key, row in rows:
            if row is None:
                self.rows.pop(key, None)
            else:
                self.rows[key] = row


def key(number: int) -> bytes:
    return number.to_bytes(8, "little")


@asynccontextmanager
async def following(settings: RedisSettings, memory: Memory) -> AsyncIterator[Replica]:
    reader = AsyncTableReader(settings, "things")
    replica = Replica("things", reader, memory.apply, lambda: list(memory.rows))
    async with running(replica.run()):
        await until(lambda: replica.following)
        yield replica
    await reader.close()


async def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + within_s
    while not holds():
        assert loop.time() < end
        await asyncio.sleep(0.005)


@pytest.fixture
def writer(redis_settings: RedisSettings) -> TableWriter:
    return TableWriter(redis_settings, "things")


async def test_a_replica_loads_and_then_follows(redis_settings: RedisSettings, writer: TableWriter) -> None:
    writer.commit({key(1): b"a", key(2): b"b"})
    memory = Memory()
    async with following(redis_settings, memory) as replica:
        assert memory.rows == {1: b"a", 2: b"b"}
        end = writer.commit({key(2): b"c", key(3): b"d"}, [key(1)])
        async with asyncio.timeout(60):
            assert await replica.catch_up(end) is True
        assert memory.rows == {2: b"c", 3: b"d"}
        assert (replica.number, replica.loads) == (5, 1)
    writer.close()


async def test_a_replica_that_fell_too_far_behind_loads_again_and_forgets_what_is_gone(
    redis_settings: RedisSettings,
) -> None:
    writer = TableWriter(redis_settings, "things", kept_changes=1)
    writer.commit({key(1): b"a"})
    memory = Memory()
    async with following(redis_settings, memory) as replica:
        for n in range(3000):  # one turn of the loop: more changes than are kept
            end = writer.commit({key(2 + n % 2): str(n).encode()}, [key(1)])
        await until(lambda: replica.number >= end)
        assert replica.loads > 1
        assert memory.rows == {2: b"2998", 3: b"2999"}
    writer.close()


async def test_trends_that_were_deleted_unseen_are_forgotten_at_the_next_load(redis_settings: RedisSettings) -> None:
    writer = TableWriter(redis_settings, "things", kept_changes=1)
    writer.commit({key(1): encode_trend(trend(8.0, origin_counts=(1, 0, 3, 0))), key(2): encode_trend(trend(4.0))})
    columns, reader = TrendColumns(), AsyncTableReader(redis_settings, "things")
    replica = Replica("things", reader, columns.apply_rows, columns.held)
    async with running(replica.run()):
        await until(lambda: replica.following)
        assert (columns.transitions_per_item, len(columns.trending(NOW, 5))) == (3.0, 2)
        for n in range(3000):  # one turn of the loop: more changes than are kept, and the deletion is none of these
            end = writer.commit(
                {key(2): encode_trend(trend(4.0, origin_counts=(1, 0, 1, 0)))}, [key(1)] if n == 1 else []
            )
        await until(lambda: replica.number >= end)
        assert replica.loads > 1
        assert columns.transitions_per_item == 1.0
        assert columns.popularity_of(np.array([1, 2], np.uint64), NOW).tolist() == [0.0, 4.0]
    await reader.close()
    writer.close()


async def test_a_row_that_cannot_be_read_is_left_out_alone(redis_settings: RedisSettings, writer: TableWriter) -> None:
    writer.commit({key(1): b"a", key(2): b"broken", key(3): b"c"})
    memory = Memory()
    async with following(redis_settings, memory) as replica:
        assert memory.rows == {1: b"a", 3: b"c"}
        assert replica.skipped == 1
    writer.close()


async def test_trends_that_come_as_arrays_are_taken_and_one_that_cannot_be_is_left_out_alone(
    redis_settings: RedisSettings, writer: TableWriter
) -> None:
    columns, refused, good = TrendColumns(), list[tuple[int, bytes]](), encode_trend(trend(1.0))
    reader = AsyncTableReader(redis_settings, "things")
    taken: list[int] = []

    def arrays(changes: ChangeArrays) -> None:
        into_trends(columns)(changes)
        taken.append(len(changes))

    replica = Replica(
        "things", reader, columns.apply_rows, columns.held,
        refused=lambda key, row, why: refused.append((key, row)), arrays=arrays,
    )  # fmt: skip
    writer.commit({key(1): good, key(2): good})
    async with running(replica.run()):
        await until(lambda: replica.following)
        await replica.catch_up(writer.commit({key(3): good, key(4): good}, [key(1)]))
        assert (columns.held(), sum(taken)) == ([2, 3, 4], 3)
        end = writer.commit({key(5): good, key(2): b"broken", key(6): good, b"odd": good})
        await replica.catch_up(end)
        assert (sorted(columns.held()), replica.number, replica.skipped) == ([3, 4, 5, 6, 0x64646F], end, 1)
        assert refused == [(2, b"broken")]
    assert replica.loads == 1
    await reader.close()
    writer.close()


async def test_many_rows_are_taken_in_slices(redis_settings: RedisSettings, writer: TableWriter) -> None:
    writer.commit({key(n): b"x" * 50 for n in range(5000)})
    memory = Memory()
    async with following(redis_settings, memory):
        assert len(memory.rows) == 5000
        assert max(memory.slices) <= 2048
        assert len(memory.slices) > 5
    writer.close()


async def test_waiting_for_log_records_ends_when_the_table_has_taken_them_in(
    redis_settings: RedisSettings, writer: TableWriter
) -> None:
    memory = Memory()
    async with following(redis_settings, memory) as replica:
        waiting = asyncio.create_task(replica.shows("items", [Position(0, 1), Position(3, 0), Position(0, 0)], 60.0))
        writer.commit({key(1): b"a"}, source=Source("items", 0, 0, 2))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        writer.commit({key(2): b"b"}, source=Source("items", 3, 0, 1))
        assert await waiting is True
        assert memory.rows == {1: b"a", 2: b"b"}
    writer.close()


async def test_a_replica_outlives_redis_and_takes_up_what_redis_lost(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        writer = TableWriter(settings, "things")
        writer.commit({key(1): b"a", key(2): b"b"})
        memory = Memory()
        async with following(settings, memory) as replica:
            server.kill()
            await until(lambda: not replica.following)
            assert memory.rows == {1: b"a", 2: b"b"}
            assert await replica.catch_up(99) is False
            for file in (tmp_path / "appendonlydir").iterdir() if (tmp_path / "appendonlydir").exists() else ():
                file.unlink()
            (tmp_path / "appendonly.aof").unlink(missing_ok=True)
            server.start()
            other = TableWriter(settings, "things")
            other.commit({key(3): b"c"})
            await until(lambda: (memory.rows, replica.number) == ({3: b"c"}, 1))
            other.close()
        writer.close()


async def test_a_replica_takes_what_got_the_numbers_of_changes_that_redis_lost(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        writer, memory = TableWriter(settings, "things"), Memory()
        async with following(settings, memory) as replica:
            with losing_what_is_written(server):
                writer.commit({key(1): b"a", key(2): b"b"})
                await until(lambda: replica.number == 2)
                writer.close()
            other = TableWriter(settings, "things")
            other.commit({key(3): b"c", key(4): b"d", key(5): b"e"})
            await until(lambda: (memory.rows, replica.number) == ({3: b"c", 4: b"d", 5: b"e"}, 3))
            other.close()


async def test_an_outage_is_a_line_at_its_start_and_one_at_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with EmbeddedRedis(tmp_path) as server:
        async with following(RedisSettings(url=server.url), Memory()) as replica:
            server.kill()
            await until(lambda: not replica.following)
            await asyncio.sleep(5 * RETRY_S)
            await asyncio.to_thread(server.start)
            await until(lambda: replica.following)
    said = [record.getMessage() for record in caplog.records if record.name == "nextclick.gateway"]
    assert len(said) == 2
    assert said[0].startswith("table things is not followed now: waiting: expected an answer from Redis")
    assert said[1].startswith("table things is not followed now: going on after ")


async def test_waiting_for_log_records_that_never_come_ends(redis_settings: RedisSettings) -> None:
    async with following(redis_settings, Memory()) as replica:
        async with asyncio.timeout(60):
            answers = await asyncio.gather(*(replica.shows("items", [Position(0, 0)], 0.05) for _ in range(50)))
        assert set(answers) == {False}
