"""A Redis that lost a table's rows is noticed by whoever writes them; and which keys a table has."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import StateUnavailable
from contracts.settings import RedisSettings
from state.client import connect
from state.embedded import EmbeddedRedis
from state.table_pulse import TablePulse
from state.tables import TableReader, TableWriter
from tests.redis_cut import losing_what_is_written

pytestmark = pytest.mark.usefixtures("redis_family")


def test_the_first_beat_and_one_after_an_emptied_redis_say_that_rows_may_be_lost(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        pulse = TablePulse(settings, "trends")
        assert [pulse.beat() for _ in range(3)] == [True, False, False]
        with connect(settings) as client:
            client.flushall()
        assert [(pulse.beat(), pulse.is_gone) for _ in range(2)] == [(True, True), (False, False)]
        pulse.close()


def test_a_redis_restored_from_older_files_is_noticed_however_much_was_written_since(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as server:
        settings = RedisSettings(url=server.url)
        pulse, table = TablePulse(settings, "trends"), TableWriter(settings, "trends")
        table.commit({bytes(8): b"row"})
        pulse.beat()
        server.stop()
        shutil.copytree(tmp_path / "redis", tmp_path / "older")
        server.start()
        assert [pulse.beat(), pulse.beat()] == [True, False]
        server.stop()
        shutil.rmtree(tmp_path / "redis")
        os.rename(tmp_path / "older", tmp_path / "redis")
        server.start()
        for _ in range(5):
            table.commit({bytes(8): b"row"})  # numbers go on as if nothing had happened
        assert [pulse.beat(), pulse.beat()] == [True, False]
        pulse.close()
        table.close()


def test_a_redis_that_was_away_may_have_lost_what_was_written_after_the_mark(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        pulse = TablePulse(RedisSettings(url=server.url, timeout_ms=200), "trends")
        pulse.beat()
        server.kill()
        with pytest.raises(StateUnavailable):
            pulse.beat()
        server.start()
        assert [pulse.beat() for _ in range(3)] == [True, False, False]
        with losing_what_is_written(server):
            pass
        assert [(pulse.beat(), pulse.is_gone) for _ in range(3)] == [(True, False), (False, False), (False, False)]
        pulse.close()


def test_which_keys_have_a_row(redis_settings: RedisSettings) -> None:
    table, reader = TableWriter(redis_settings, "some"), TableReader(redis_settings, "some")
    held = np.arange(1, 5000, 2, dtype=np.uint64) * 2**50
    table.commit({int(key).to_bytes(8, "little"): b"row" for key in held})

    asked = np.arange(1, 5000, dtype=np.uint64) * 2**50
    assert reader.holds(asked).tolist() == [at % 2 == 0 for at in range(4999)]
    assert reader.holds(asked[:0]).tolist() == []
    assert sorted(reader.keys().tolist()) == held.tolist()
    empty = TableReader(redis_settings, "other")
    assert (empty.keys().tolist(), empty.holds(asked[:2]).tolist()) == ([], [False, False])
    for one in (table, reader, empty):
        one.close()
