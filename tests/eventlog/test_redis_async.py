"""The event loop's way into the Redis log: what a connection that ends does to an append."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from contracts.errors import LogUnavailable
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisAsyncLogWriter
from state.embedded import EmbeddedRedis

pytestmark = pytest.mark.usefixtures("redis_family")

LOG = LogSettings(partitions=1)


async def test_an_append_whose_connection_ends_is_told_and_never_sent_twice() -> None:
    connections = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(await reader.read(100_000))
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        log = RedisAsyncLogWriter(LOG, RedisSettings(url=f"redis://127.0.0.1:{port}/0", timeout_ms=5000))
        with pytest.raises(LogUnavailable, match="could not append to clicks"):
            await log.append(Topic.CLICKS, [Record("anna", b"the click")])
        await asyncio.sleep(0.1)
        assert [b"the click" in heard for heard in connections] == [True]
        await log.close()


async def test_an_append_after_redis_restarted_finds_it_again(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        log = RedisAsyncLogWriter(LOG, RedisSettings(url=server.url, timeout_ms=60_000))
        assert [one.offset for one in await log.append(Topic.CLICKS, [Record("anna", b"1")])] == [0]
        server.kill()
        server.start()
        await asyncio.sleep(0.1)  # the loop hears that the connection ended
        assert [one.offset for one in await log.append(Topic.CLICKS, [Record("anna", b"2")])] == [1]
        await log.close()


async def test_a_script_that_redis_has_forgotten_is_sent_again(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        log = RedisAsyncLogWriter(LOG, RedisSettings(url=server.url, timeout_ms=60_000))
        await log.append(Topic.CLICKS, [Record("anna", b"1")])
        await log._redis.run("flush scripts", [("SCRIPT", "FLUSH")])
        assert [one.offset for one in await log.append(Topic.CLICKS, [Record("anna", b"2")])] == [1]
        await log.close()
