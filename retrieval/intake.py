"""Encoded catalogue rows on their way into columns and index: the one door, for gateways, builder and flows alike.

What the columns hold already, to the byte, is skipped. A row whose vector another tower made (or none) is embedded
again, so that vectors of one model only go in and an upgrade never leaves items without one. A row that cannot be
taken raises before anything is changed; followers leave it out alone (`take_rows`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from contracts.codec import decode_row
from contracts.ids import ItemKey
from contracts.items import CatalogueRow
from contracts.left_out import LeftOutLog, take_each
from contracts.plausible import expect_row
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns, digest_of
from session_model.item_tower import ItemTower

log = logging.getLogger("nextclick.retrieval")

RawRows = Sequence[tuple[int, bytes | None]]
"""(ItemKey, encoded row; None when deleted)."""
Refused = Callable[[int, bytes, Exception], None]
"""Told the key and the encoded row of one that could not be taken, and what it raised."""


def take_rows(rows: RawRows, take: Callable[[RawRows], object], refused: Refused) -> int:
    """Take a table's rows, leaving out alone those that cannot be, whatever they raise; returns how many those were.

    What was held under the key of such a row is forgotten: it is not what the table says any more (a stock may have
    run out since), and a process that starts now would not have it either.
    """

    def leave_out(row: tuple[int, bytes | None], error: Exception) -> None:
        key, raw = row
        refused(key, raw or b"", error)
        if raw is not None:
            take_each([(key, None)], take, lambda *_: None)  # a key that cannot be is held nowhere

    return take_each(rows, take, leave_out)


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
        self._said = LeftOutLog(log)
        self._tower: ItemTower | None = None
        self._asked = False

    def take(self, rows: RawRows) -> None:
        """Take rows in order. Raises, with nothing taken, for one that cannot be. To delete what was never here is
        nothing to do.
        """
        digests = {ItemKey(key): digest_of(raw) for key, raw in rows if raw is not None}
        latest = {ItemKey(key): raw for key, raw in rows}
        keys = np.fromiter(latest, np.uint64, len(latest))
        wanted = np.array([digests[key] if latest[key] is not None else 0 for key in latest], np.uint64)
        done = self.columns.holds(keys, wanted) | ((wanted == 0) & (self.columns.rows_of(keys) < 0))
        decoded = {
            key: _decoded(key, raw) if raw is not None else None
            for (key, raw), is_done in zip(latest.items(), done.tolist(), strict=True)
            if not is_done
        }
        if decoded:
            applied = self.columns.apply(self._embedded(decoded).items(), digests)
            if self.index is not None:
                self.index.apply(applied.reindex)

    def take_each(self, rows: RawRows) -> int:
        """Take rows, leaving out those that cannot be, and saying so; returns how many those were."""
        return take_rows(rows, self.take, lambda key, _, error: self._said.say(f"catalogue row {key:016x}", error))

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


def _decoded(key: ItemKey, raw: bytes) -> CatalogueRow:
    row = decode_row(raw)
    expect_row(key, row)
    return row
