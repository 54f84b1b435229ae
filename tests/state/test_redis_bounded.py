"""An embedded Redis with a bound: the sessions used least lately go, the log and the tables never do."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from contracts.errors import LogUnavailable
from contracts.keys import Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.redis_log import RedisLogWriter
from state.embedded import EmbeddedRedis
from state.machine_memory import machine_memory
from state.tables import TableWriter

pytestmark = pytest.mark.usefixtures("redis_family")
MOST = 24_000_000


def test_at_its_bound_sessions_go_and_then_writes_are_refused(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, max_bytes=MOST) as server, redis.Redis.from_url(server.url) as client:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        table, writer = TableWriter(settings, "t"), RedisLogWriter(LogSettings(partitions=1), settings)
        table.commit({b"k": b"row" * 1000})
        for first in range(0, 30_000, 500):
            with client.pipeline(transaction=False) as pipe:
                for number in range(first, first + 500):
                    pipe.set(Keys().session(0, f"s{number}"), bytes(1000), px=1_800_000)
                pipe.execute()
        left = client.dbsize()
        assert 5_000 < left < 29_000
        assert client.info("memory")["used_memory"] < 1.2 * MOST

        large = [Record("anna", bytes(500_000))]
        for _ in range(10):  # in the place of sessions
            writer.append(Topic.CLICKS, large)
        with pytest.raises(LogUnavailable, match="OOM"):
            append_for_ever(writer, large)
        assert client.hlen(Keys().table_rows("t")) == 1
        assert client.xlen(Keys().log("clicks", 0)) >= 10
        table.close()
        writer.close()


def append_for_ever(writer: RedisLogWriter, records: list[Record]) -> None:
    for _ in range(90):
        writer.append(Topic.CLICKS, records)


def test_the_memory_is_the_machines_or_the_containers(tmp_path: Path) -> None:
    whole = machine_memory([])
    assert whole > 10**8
    for text, expected in (("1000000\n", 1_000_000), ("max\n", whole), (str(2**63), whole)):
        (tmp_path / "memory.max").write_text(text)
        assert machine_memory([tmp_path / "not there", tmp_path / "memory.max"]) == expected
