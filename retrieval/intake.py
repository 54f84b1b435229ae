"""Encoded catalogue rows on their way into columns and index: the one door, for gateways, builder and flows alike.

What the columns hold already, to the byte, is skipped. A row whose vector another tower made (or none) is embedded
again, so that vectors of one model only go in and an upgrade never leaves items without one. A vector that is not of
the right size or not finite is refused: ValueError, nothing changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from contracts.codec import decode_row
from contracts.ids import ItemKey
from contracts.items import CatalogueRow
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns, digest_of
from session_model.item_tower import ItemTower

log = logging.getLogger("nextclick.retrieval")

RawRows = Sequence[tuple[int, bytes | None]]
"""(ItemKey, encoded row; None when deleted)."""


class Intake:
    """Takes rows into one catalogue and its index, if any. `load_tower` is asked once, when a row wants embedding."""

    def __init__(
        self,
        columns: CatalogueColumns,
        index: AnnIndex | None = None,
        load_tower: Callable[[], ItemTower | None] = lambda: None,
    ) -> None:
        self.columns, self.index = columns, index
        self._load_tower = load_tower
        self._tower: ItemTower | None = None
        self._asked = False

    def take(self, rows: RawRows) -> None:
        """Take rows in order. Raises ValueError, with nothing taken, for one that cannot be."""
        digests = {ItemKey(key): digest_of(raw) for key, raw in rows if raw is not None}
        latest = {ItemKey(key): raw for key, raw in rows}
        keys = np.fromiter(latest, np.uint64, len(latest))
        wanted = np.array([digests[key] if latest[key] is not None else 0 for key in latest], np.uint64)
        held = self.columns.holds(keys, wanted)
        decoded = {
            key: decode_row(raw) if raw is not None else None
            for (key, raw), is_held in zip(latest.items(), held.tolist(), strict=True)
            if not is_held
        }
        if decoded:
            applied = self.columns.apply(self._embedded(decoded).items(), digests)
            if self.index is not None:
                self.index.apply(applied.reindex)

    def take_each(self, rows: RawRows) -> int:
        """Take rows, leaving out those that cannot be; returns how many those were."""
        try:
            self.take(rows)
        except ValueError as error:
            if len(rows) > 1:
                return sum(self.take_each([row]) for row in rows)
            log.error("row %016x is left out: %s", rows[0][0], error)
            return 1
        return 0

    def _embedded(self, rows: dict[ItemKey, CatalogueRow | None]) -> dict[ItemKey, CatalogueRow | None]:
        version = self.columns.model_version
        if version is None:
            return rows
        foreign = [(key, row) for key, row in rows.items() if row is not None and row.model_version != version]
        tower = self._tower_of(version) if foreign else None
        if tower is None:
            return rows
        vectors, known = tower.embed([row.item_id for _, row in foreign], [row.item for _, row in foreign])
        for (key, row), vector, is_known in zip(foreign, vectors, known, strict=True):
            made = vector.astype("<f4").tobytes() if is_known else b""
            rows[key] = replace(row, vector=made, model_version=version)
        return rows

    def _tower_of(self, version: int) -> ItemTower | None:
        if not self._asked:
            self._tower, self._asked = self._load_tower(), True
        return self._tower if self._tower is not None and self._tower.version == version else None
