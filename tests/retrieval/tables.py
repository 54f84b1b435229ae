"""A real catalogue table with items whose vectors a small tower made, for the tests of snapshots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from contracts.codec import encode_row
from contracts.ids import item_key
from contracts.items import CatalogueRow, Item
from contracts.keys import CATALOGUE
from contracts.settings import IndexSettings, RedisSettings, ServiceSettings
from session_model.content import Field
from session_model.item_tower import ItemTower
from state.shards import ShardedWriter, catalogue_reader
from state.tables import TableWriter

DIM = 16


def tower(version: int = 7, seed: int = 1) -> ItemTower:
    """A tower that knows the ids i0 to i4999."""
    keys = np.sort(np.array([item_key(f"i{n}") for n in range(5000)], np.uint64))
    table = np.random.default_rng(seed).standard_normal((len(keys), DIM)).astype(np.float32)
    return ItemTower(
        id_keys=keys,
        id_table=table,
        token_keys=np.zeros(0, np.uint64),
        token_table=np.zeros((0, DIM), np.float32),
        field_weights=np.ones(len(Field), np.float32),
        image_projection=np.zeros((0, DIM), np.float32),
        version=version,
    )


def row(item_id: str, made_by: ItemTower | None, *, stock: int = 5, created_ms: int = 1000, **fields: object) -> bytes:
    item = Item.model_validate({"title": item_id.upper(), **fields})
    vector, version = b"", 0
    if made_by is not None:
        vectors, known = made_by.embed([item_id], [item])
        vector, version = (vectors[0].astype("<f4").tobytes() if known[0] else b""), made_by.version
    return encode_row(CatalogueRow(item_id, item, stock, created_ms, version, vector))


def name(item_id: str) -> bytes:
    return item_key(item_id).to_bytes(8, "little")


class Shop:
    """Writes a table, the way the items flow does."""

    def __init__(self, redis: RedisSettings, made_by: ItemTower | None, kept_changes: int = 100_000) -> None:
        self.tower = made_by
        parts = redis.item_shards
        self.writer = (
            TableWriter(redis, CATALOGUE, kept_changes=kept_changes)
            if parts == 1
            else ShardedWriter(redis, CATALOGUE, parts, kept_changes=kept_changes)
        )
        self._reader = catalogue_reader(redis)

    def put(self, item_ids: Sequence[str], **fields: object) -> int:
        return self._commit({name(one): row(one, self.tower, **fields) for one in item_ids}, [])  # type: ignore[arg-type]

    def delete(self, item_ids: Sequence[str]) -> int:
        return self._commit({}, [name(one) for one in item_ids])

    def _commit(self, puts: Mapping[bytes, bytes], deletes: Sequence[bytes]) -> int:
        """Return the number of the next change; of a table of several shards, all changes."""
        if isinstance(self.writer, TableWriter):
            return self.writer.commit(puts, deletes)
        self.writer.claim()
        self.writer.commit(puts, deletes)
        return sum(one.end() for one in self._reader.shards)


def service(redis: RedisSettings, folder: Path, **options: object) -> ServiceSettings:
    """Settings that use graphs and snapshots for however few items."""
    chosen = {"folder": str(folder), "min_items": 1, "exact_up_to": 0, **options}
    return ServiceSettings(redis=redis, index=IndexSettings.model_validate(chosen))
