"""A flow worker's catalogue, followed on a real Redis: a row that cannot be taken stops nothing."""

from __future__ import annotations

import numpy as np

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import RedisSettings
from flows.catalogue_follower import CatalogueFollower
from retrieval.catalogue import CatalogueColumns
from state.tables import TableReader, TableWriter


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
