"""The trends flow and a disk that is full: its recovery store's, or Redis's. Nothing is lost or counted twice."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from contracts.codec import ItemTrend, decode_trend
from contracts.ids import item_key
from contracts.keys import TRENDS
from contracts.settings import RedisSettings
from flows.trend_recovery import prepare_recovery
from state.embedded import EmbeddedRedis
from state.tables import TableReader
from tests.eventlog.logs import lose_the_last_records
from tests.flows.test_trends_flow import (
    LOG,
    append,
    wait_for_popularity,
    wait_for_snapshots,
    worker,
)
from tests.processes import wait_for
from tests.small_disk import MakeDisk


def trends_in(settings: RedisSettings) -> Callable[[str], ItemTrend | None]:
    def row(item: str) -> ItemTrend | None:
        with closing(TableReader(settings, TRENDS)) as reader:
            (found,) = reader.get([item_key(item).to_bytes(8, "little")])
        return decode_trend(found) if found is not None else None

    return row


def stays_at(row: Callable[[str], ItemTrend | None], item: str, count: float) -> None:
    """Wait for the count, and see that it is still the same when a flow that counts twice would have."""
    wait_for_popularity(row, item, count)
    time.sleep(1.5)
    wait_for_popularity(row, item, count)


@pytest.mark.slow
def test_a_full_recovery_store_ends_the_flow_and_nothing_is_lost_or_counted_twice(
    redis_settings: RedisSettings, make_disk: MakeDisk
) -> None:
    disk, row = make_disk(4), trends_in(redis_settings)
    recovery = [*prepare_recovery(disk.folder / "trends"), "-s", "1"]
    append(redis_settings, 200)
    with worker(redis_settings, *recovery) as process:
        wait_for_popularity(row, "a", 100)
        wait_for_snapshots(disk.folder / "trends", 2)
        disk.fill()
        count = 200
        while process.poll() is None:
            append(redis_settings, 100, first=count)
            count += 100
            time.sleep(0.2)
            assert count < 20_000
    with worker(redis_settings, *recovery) as process:  # there is no room yet: it ends again
        assert process.wait(60) == 1
    disk.clear()
    with worker(redis_settings, *recovery):
        stays_at(row, "a", count / 2)
        stays_at(row, "b", count / 2)


@pytest.mark.slow
def test_a_log_that_lost_its_last_records_is_not_counted_again(tmp_path: Path) -> None:
    """As after a disk was full: the flow has read clicks that Redis could not write, and that nobody was promised."""
    told = tmp_path / "told"
    with EmbeddedRedis(tmp_path / "redis") as server, told.open("wb") as says_to:
        settings = RedisSettings(url=server.url, timeout_ms=60_000)
        row = trends_in(settings)
        append(settings, 20_000)  # more of a session than the flow remembers
        with worker(settings, says_to=says_to):
            wait_for_popularity(row, "a", 10_000)
            lose_the_last_records(settings, LOG.partitions, 5)
            server.kill()
            server.start()
            wait_for(lambda: told.read_text().count("the log lost its last records") == LOG.partitions)
            stays_at(row, "a", 10_000)
            append(settings, 100, first=20_000)
            stays_at(row, "a", 10_050)
            stays_at(row, "b", 10_050)


def test_a_store_that_finds_no_room_is_made_whole_once_there_is(make_disk: MakeDisk) -> None:
    disk = make_disk(1)
    folder = disk.folder / "trends"
    disk.fill()
    command = [sys.executable, "-m", "flows.trend_recovery", str(folder)]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (tried.returncode, tried.stderr.count("\n")) == (1, 1)
    assert "cannot make the trends flow's recovery store: [Errno 28] No space left on device" in tried.stderr
    disk.clear()
    prepare_recovery(folder)
    assert {path.name for path in folder.iterdir()} == {"part-0.sqlite3", "state-version"}


@pytest.mark.parametrize("left", [0, 5000])
def test_a_damaged_store_is_put_aside_and_counting_starts_with_what_the_log_holds(
    redis_settings: RedisSettings, tmp_path: Path, left: int
) -> None:
    prepare_recovery(tmp_path)
    (part,) = tmp_path.glob("part-*.sqlite3")
    os.truncate(part, left)
    append(redis_settings, 100)
    with worker(redis_settings, *prepare_recovery(tmp_path)):
        wait_for_popularity(trends_in(redis_settings), "a", 50)
    assert [path.name for path in tmp_path.glob("damaged/*.sqlite3")] == ["part-0.sqlite3"]


def test_a_whole_store_stays_where_it_is(tmp_path: Path) -> None:
    prepare_recovery(tmp_path)
    before = (tmp_path / "part-0.sqlite3").stat().st_ino
    prepare_recovery(tmp_path)
    assert (tmp_path / "part-0.sqlite3").stat().st_ino == before
