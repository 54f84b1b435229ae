"""A flow worker's catalogue, followed on a real Redis: a row that cannot be taken stops nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from flows.catalogue_follower import CatalogueFollower
from retrieval.catalogue import CatalogueColumns
from state.embedded import EmbeddedRedis
from state.tables import TableReader, TableWriter
from tests.redis_cut import losing_what_is_written


def put(redis_settings: RedisSettings, vectors: dict[str, list[float]]) -> None:
    rows = {
        item_key(name).to_bytes(8, "little"): encode_row(
            CatalogueRow(name, Item(title=name), 1, 1, 5, np.array(vector, "<f4").tobytes())
        )
        for name, vector in vectors.items()
    }
    TableWriter(redis_settings, CATALOGUE).commit(rows)


def known(columns: CatalogueColumns, *names: str) -> list[bool]:
    _, found = columns.vectors_of(np.array([item_key(name) for name in names], np.uint64))
    return [bool(one) for one in found]


def test_a_row_that_cannot_be_taken_is_left_out_alone(redis_settings: RedisSettings) -> None:
    columns = CatalogueColumns(model_version=5, dim=2)
    follower = CatalogueFollower(TableReader(redis_settings, CATALOGUE), columns, refresh_ms=0)
    put(redis_settings, {"a": [1.0, 0.0], "bad": [float("nan"), 0.0], "b": [0.0, 1.0]})
    follower.load()
    assert known(columns, "a", "bad", "b") == [True, False, True]
    put(redis_settings, {"short": [1.0], "c": [0.6, 0.8]})
    follower.take_slice()
    assert known(columns, "short", "c") == [False, True]


def test_a_row_that_is_mended_is_taken(redis_settings: RedisSettings) -> None:
    columns = CatalogueColumns(model_version=5, dim=2)
    follower = CatalogueFollower(TableReader(redis_settings, CATALOGUE), columns, refresh_ms=0)
    put(redis_settings, {"a": [float("inf"), 0.0]})
    follower.load()
    put(redis_settings, {"a": [1.0, 0.0]})
    follower.take_slice()
    assert known(columns, "a") == [True]


def test_a_row_that_got_the_number_of_one_that_redis_lost_is_taken(tmp_path: Path) -> None:
    columns = CatalogueColumns(model_version=5, dim=2)
    with EmbeddedRedis(tmp_path) as server:
        settings = RedisSettings(url=server.url)
        reader = TableReader(settings, CATALOGUE)
        follower = CatalogueFollower(reader, columns, refresh_ms=0)
        follower.load()
        with losing_what_is_written(server):
            put(settings, {"a": [1.0, 0.0], "b": [1.0, 0.0]})
            follower.take_slice()
        put(settings, {"c": [1.0, 0.0], "d": [1.0, 0.0], "e": [1.0, 0.0]})
        while follower.take_slice():
            pass
        assert known(columns, "c", "d", "e") == [True, True, True]
        reader.close()
