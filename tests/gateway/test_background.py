"""A background task that fails is started again, and until then nothing says that it runs."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

import pytest
import redis

from contracts.keys import Keys
from contracts.settings import RedisSettings
from gateway.background import kept_running, running
from gateway.replica import Replica, Rows
from state.async_tables import AsyncTableReader
from state.tables import TableWriter

QUICK = (0.001, 0.002)


async def test_a_task_that_fails_is_started_again_counted_and_said_with_its_traceback_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    restarts, left = Counter[str](), [KeyError("a"), KeyError("a"), KeyError("b")]

    async def run() -> None:
        if left:
            raise left.pop(0)

    await kept_running("table trends", run, restarts, QUICK)
    assert restarts == {"table trends": 3}
    assert [record.exc_info is not None for record in caplog.records] == [True, False, True]
    assert caplog.messages[1] == "table trends ended, and starts again in 0.0 s: KeyError: 'a'"


async def test_a_cancelled_task_stays_ended() -> None:
    restarts, started = Counter[str](), 0

    async def run() -> None:
        nonlocal started
        started += 1
        await asyncio.sleep(60)

    async with running(kept_running("x", run, restarts, QUICK)):
        await asyncio.sleep(0.01)
    assert (started, restarts) == (1, {})


async def test_a_replica_that_ends_does_not_say_that_it_follows_until_it_was_started_again(
    redis_settings: RedisSettings,
) -> None:
    writer, reader = TableWriter(redis_settings, "things"), AsyncTableReader(redis_settings, "things")
    writer.commit({b"12345678": b"a"})
    broken, held = True, dict[int, bytes | None]()

    def keys() -> Iterable[int]:
        if broken:
            raise RuntimeError("a programming error")
        return held

    def apply(rows: Rows) -> None:
        held.update(rows)

    replica, restarts = Replica("things", reader, apply, keys), Counter[str]()
    seen: set[bool] = set()
    async with asyncio.timeout(60), running(kept_running("things", replica.run, restarts, QUICK)):
        while restarts["things"] < 3:
            seen.add(replica.following)
            await asyncio.sleep(0.001)
        assert seen == {False}
        broken = False
        while not replica.following:  # noqa: ASYNC110 (started again in the background)
            await asyncio.sleep(0.001)
        assert list(held.values()) == [b"a"]
    assert replica.following is False
    await reader.close()
    writer.close()


async def test_a_stream_entry_that_is_no_change_makes_a_replica_load_again(redis_settings: RedisSettings) -> None:
    writer, reader = TableWriter(redis_settings, "things"), AsyncTableReader(redis_settings, "things")
    writer.commit({b"12345678": b"a"})
    held = dict[int, bytes | None]()
    replica = Replica("things", reader, held.update, lambda: held)
    async with asyncio.timeout(60), running(replica.run()):
        while not replica.following:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        keys = Keys(redis_settings.prefix)
        with redis.Redis.from_url(redis_settings.url) as client:
            client.xadd(keys.table_changes("things"), {"x": "y"}, id="1-1")
            client.set(keys.table_end("things"), 2)
        end = writer.commit({b"87654321": b"b"})
        while replica.number < end or not replica.following:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        assert sorted(held.values(), key=str) == [b"a", b"b"]
        assert replica.loads == 2
    await reader.close()
    writer.close()
