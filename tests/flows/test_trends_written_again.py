"""The trends flow as a process over a Redis that loses the trends table: it comes back without a click."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
import redis

from contracts.codec import decode_trend
from contracts.ids import item_key
from contracts.keys import SHOWINGS, TRENDS, Keys
from contracts.settings import LogSettings, RedisSettings
from eventlog.contract import Record, Topic
from eventlog.open_log import open_writer
from flows.trend_recovery import prepare_recovery
from state.embedded import EmbeddedRedis
from state.tables import TableReader
from tests.redis_cut import losing_what_is_written

ROOT = Path(__file__).parents[2]
LOG = LogSettings(partitions=2)
ITEMS = 60


@contextmanager
def trends_flow(settings: RedisSettings, recovery: Path) -> Iterator[None]:
    environment = {
        **os.environ,
        "NEXTCLICK_REDIS__URL": settings.url,
        "NEXTCLICK_LOG__PARTITIONS": str(LOG.partitions),
        "NEXTCLICK_TREND__EMIT_INTERVAL_MS": "100",
        "NEXTCLICK_TREND__SHOWINGS_INTERVAL_MS": "100",
        "NEXTCLICK_TREND__VISITORS": "1",
    }
    command = [sys.executable, "-m", "bytewax.run", "flows.trends:flow", *prepare_recovery(recovery), "-s", "1"]
    process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def append(settings: RedisSettings, first: int, clicks: int) -> None:
    """Append clicks on ITEMS items in turn, and a page that showed two of them."""
    now_ms, writer = time.time_ns() // 1_000_000, open_writer(LOG, settings)

    def record(number: int, **fields: object) -> Record:
        event = {"v": 1, "event_id": f"e{number}", "session_id": f"s{number}", "ts": now_ms} | fields
        return Record(f"s{number}", orjson.dumps(event))

    made = [record(n, type="view", item_id=f"item-{n % ITEMS}") for n in range(first, first + clicks)]
    writer.append(Topic.CLICKS, made)
    writer.append(Topic.IMPRESSIONS, [record(10**6 + first, type="impression", items=["item-1", "item-2"])])
    writer.close()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < until, f"gave up waiting until {what}"
        time.sleep(0.05)


def clicks_by_item(table: TableReader) -> dict[int, int]:
    """Return the clicks of every item that the table has, as its origins count them: they do not decay."""
    rows = dict(pair for page in table.rows() for pair in page)
    return {int.from_bytes(key, "little"): round(sum(decode_trend(row).origin_counts)) for key, row in rows.items()}


EVERY = {item_key(f"item-{number}"): 2 for number in range(ITEMS)}


@pytest.mark.slow
def test_rows_come_back_without_a_click_after_a_flushall_and_after_a_restore_of_an_older_file(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        settings = RedisSettings(url=server.url)
        table, showings = TableReader(settings, TRENDS), TableReader(settings, SHOWINGS)
        with redis.Redis.from_url(server.url) as client, trends_flow(settings, tmp_path / "recovery"):
            append(settings, 0, ITEMS)
            wait_until(lambda: clicks_by_item(table) == dict.fromkeys(EVERY, 1), "all items have trends")
            wait_until(lambda: showings.size() > 0, "showings are written")
            client.hset(Keys().table_rows(TRENDS), bytes(8), b"of another time")
            server.stop()
            shutil.copytree(tmp_path / "redis", tmp_path / "older")
            server.start()
            client.hdel(Keys().table_rows(TRENDS), bytes(8))
            append(settings, ITEMS, ITEMS)
            wait_until(lambda: clicks_by_item(table) == EVERY, "all items have two clicks")

            client.flushall()
            wait_until(lambda: clicks_by_item(table) == EVERY, "the emptied table is whole")
            wait_until(lambda: showings.size() > 0, "showings are there again")

            server.stop()
            shutil.rmtree(tmp_path / "redis")
            os.rename(tmp_path / "older", tmp_path / "redis")
            server.start()
            wait_until(lambda: table.get([bytes(8)]) == [None], "the row of another time is gone")
            wait_until(lambda: clicks_by_item(table) == EVERY, "the older table is made whole")
        table.close()
        showings.close()


@pytest.mark.slow
def test_a_flow_that_starts_over_an_emptied_redis_writes_what_it_recovers(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        settings = RedisSettings(url=server.url)
        table = TableReader(settings, TRENDS)
        with redis.Redis.from_url(server.url) as client:
            with trends_flow(settings, tmp_path / "recovery"):
                append(settings, 0, 2 * ITEMS)
                wait_until(lambda: clicks_by_item(table) == EVERY, "all items have two clicks")
                time.sleep(4)  # some epochs of a second: what was counted is saved
            client.flushall()
            with trends_flow(settings, tmp_path / "recovery"):
                wait_until(lambda: clicks_by_item(table) == EVERY, "the emptied table is whole")
        table.close()


@pytest.mark.slow
def test_rows_that_redis_lost_with_its_machine_are_written_again_without_a_click(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        settings = RedisSettings(url=server.url)
        table = TableReader(settings, TRENDS)
        with trends_flow(settings, tmp_path / "recovery"):
            append(settings, 0, ITEMS)
            wait_until(lambda: clicks_by_item(table) == dict.fromkeys(EVERY, 1), "all items have trends")
            for number in range(2, 6):
                append(settings, number * ITEMS, ITEMS)  # the log keeps these
                expected = dict.fromkeys(EVERY, number)
                with losing_what_is_written(server):
                    wait_until(lambda: clicks_by_item(table) == expected, f"{number} clicks")  # noqa: B023
                wait_until(lambda: clicks_by_item(table) == expected, "the table is whole again")  # noqa: B023
        table.close()
