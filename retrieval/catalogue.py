"""The catalogue as arrays: one row an item, fed by the catalogue table's changes.

A row is never given away: a deleted item stays as a tombstone (`alive` is False) and takes its old row again when it
comes back. Vectors of one model version only are held, so no search can mix two models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.ids import ItemKey
from contracts.items import CatalogueRow, Item
from retrieval.columns import grown
from retrieval.key_rows import KeyRows, Keys, Rows

EVERYWHERE = np.uint64(2**64 - 1)
"""`region_mask` of an item that lists no regions."""
_ELSEWHERE_BIT = np.uint64(1 << 63)
"""Set in EVERYWHERE alone: what a region that has no bit of its own is looked up by."""
MAX_REGION_BITS = 63

NO_CODE = 0
"""Category or brand code of an item that names none."""


class Applied(NamedTuple):
    """Rows that a batch of changes touched, and those of them whose vector or life changed: the index wants these."""

    rows: Rows
    reindex: Rows


class CatalogueColumns:
    """Columns by row. Read `count` rows of each; what lies beyond is spare room. For one thread.

    `model_version` is the version of the vectors that are wanted (the encoder's). A row of any other version counts as
    having no vector. Left out, the first vector that comes sets it. `dim` likewise.

    Columns: `keys` u64 · `item_ids`, `documents` lists · `alive` bool · `price`, `margin` (NaN: not given) f4 · `stock`
    i4 · `min_age` i2 years · `created_ms` i8 · `category`, `top_category`, `brand` i4 codes (NO_CODE: none) ·
    `region_mask` u64 · `vectors` (rows, d) f4 unit norm · `has_vector` bool · `model_versions` u64.
    """

    def __init__(self, *, model_version: int | None = None, dim: int | None = None) -> None:
        self.model_version = model_version
        self.dim = dim
        self._rows = KeyRows()
        self.item_ids: list[str] = []
        self.documents: list[Item] = []
        self.keys = np.zeros(0, np.uint64)
        self.alive = np.zeros(0, np.bool_)
        self.price = np.zeros(0, np.float32)
        self.margin = np.zeros(0, np.float32)
        self.stock = np.zeros(0, np.int32)
        self.min_age = np.zeros(0, np.int16)
        self.created_ms = np.zeros(0, np.int64)
        self.category = np.zeros(0, np.int32)
        self.top_category = np.zeros(0, np.int32)
        self.brand = np.zeros(0, np.int32)
        self.region_mask = np.zeros(0, np.uint64)
        self.has_vector = np.zeros(0, np.bool_)
        self.model_versions = np.zeros(0, np.uint64)
        self.vectors = np.zeros((0, dim or 0), np.float32)
        self._categories: dict[str, int] = {"": NO_CODE}
        self._brands: dict[str, int] = {"": NO_CODE}
        self._regions: dict[str, int] = {}
        self._further_regions: dict[str, set[int]] = {}

    def __len__(self) -> int:
        return self.count

    @property
    def count(self) -> int:
        """Rows in use, tombstones among them."""
        return len(self._rows)

    def expect(self, model_version: int, dim: int) -> None:
        """Want the vectors of this model. Raises ValueError once those of another have been taken in."""
        if (self.model_version, self.dim) not in ((None, None), (model_version, dim)):
            raise ValueError(
                f"the catalogue holds vectors of model {self.model_version or 0:016x} with {self.dim} dimensions, "
                f"expected {model_version:016x} with {dim}: give CatalogueColumns the encoder's version before rows"
            )
        self.model_version, self.dim = model_version, dim

    def apply(self, changes: Iterable[tuple[ItemKey, CatalogueRow | None]]) -> Applied:
        """Take table changes in order; None deletes. Changes are absolute: the last one of a key counts.

        Raises ValueError, before anything is changed, when a vector of the wanted model version has another size than
        the columns hold or is not finite, or when two item ids share a key.
        """
        latest = dict(changes)
        vectors = self._checked_vectors(latest)
        self._check_collisions(latest)
        rows = self._rows.add(np.fromiter(latest, np.uint64, len(latest)))
        self._grow()
        reindex = [
            row
            for row, (key, item) in zip(rows.tolist(), latest.items(), strict=True)
            if self._put(row, key, item, vectors.get(key))
        ]
        return Applied(rows, np.array(reindex, np.int32))

    def rows_of(self, keys: Keys) -> Rows:
        """Return the row of every key, int32 of the keys' shape; -1 for a key that was never here."""
        return self._rows.rows_of(keys)

    def vectors_of(self, keys: Keys) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the vector of every key, (n, d), and whether it has one, (n,); zeros where it has none.

        A deleted item keeps its vector: sessions still hold clicks on it.
        """
        rows = self.rows_of(keys)
        if not self.count:
            return np.zeros((len(keys), self.dim or 0), np.float32), np.zeros(len(keys), np.bool_)
        known = (rows >= 0) & self.has_vector[rows]
        return self.vectors[rows] * known[:, None], known

    def sold_in(self, rows: Rows, region: str | None) -> NDArray[np.bool_]:
        """Return which of the rows are sold in a region, (n,). Without a region, all are."""
        if region is None:
            return np.ones(len(rows), np.bool_)
        sold: NDArray[np.bool_] = (self.region_mask[rows] & self.region_bit(region)) != 0
        further = self._further_regions.get(region)
        if further:
            sold |= np.isin(rows, np.fromiter(further, np.int32, len(further)))
        return sold

    def region_bit(self, region: str) -> np.uint64:
        """Return the bit of `region_mask` that says sold there; a region without one of its own gets the bit that
        only EVERYWHERE has.
        """
        code = self._regions.get(region)
        return _ELSEWHERE_BIT if code is None else np.uint64(1 << code)

    def category_code(self, path: str) -> int:
        """Return the code of a category path, -1 for one that no item has had."""
        return self._categories.get(path, -1)

    def _checked_vectors(self, latest: dict[ItemKey, CatalogueRow | None]) -> dict[ItemKey, NDArray[np.float32]]:
        """Return the vectors of the wanted version, all of one size and finite; settle version and size."""
        version, dim = self.model_version, self.dim
        vectors: dict[ItemKey, NDArray[np.float32]] = {}
        for key, row in latest.items():
            if row is None or not row.vector:
                continue
            version = row.model_version if version is None else version
            if row.model_version != version:
                continue
            dim = len(row.vector) // 4 if dim is None else dim
            if len(row.vector) != 4 * dim:
                raise ValueError(
                    f"item {row.item_id!r}: expected a vector of {dim} float32 ({4 * dim} bytes), got "
                    f"{len(row.vector)} bytes: embed the catalogue again with model {version:016x}"
                )
            vector = np.frombuffer(row.vector, "<f4")
            if not np.isfinite(vector).all():
                raise ValueError(f"item {row.item_id!r}: expected finite numbers in its vector, got NaN or infinity")
            vectors[key] = vector
        self.model_version, self.dim = version, dim
        return vectors

    def _check_collisions(self, latest: dict[ItemKey, CatalogueRow | None]) -> None:
        rows = self._rows.rows_of(np.fromiter(latest, np.uint64, len(latest)))
        for at, (key, item) in zip(rows.tolist(), latest.items(), strict=True):
            if at >= 0 and item is not None and self.item_ids[at] and self.item_ids[at] != item.item_id:
                raise ValueError(
                    f"items {self.item_ids[at]!r} and {item.item_id!r} share the key {key:016x}: rename one of them"
                )

    def _put(self, row: int, key: ItemKey, item: CatalogueRow | None, vector: NDArray[np.float32] | None) -> bool:
        """Write one row. Returns whether the index must look at it again."""
        self.keys[row] = key
        if item is None:
            was_alive = bool(self.alive[row])
            self.alive[row] = False
            return was_alive
        document = item.item
        path = document.category_path
        self.item_ids[row] = item.item_id
        self.documents[row] = document
        self.price[row] = document.price
        self.margin[row] = np.nan if document.margin is None else document.margin
        self.stock[row] = item.stock
        self.min_age[row] = document.min_age or 0
        self.created_ms[row] = item.created_ms
        self.category[row] = _code(self._categories, path[-1] if path else "")
        self.top_category[row] = _code(self._categories, path[0] if path else "")
        self.brand[row] = _code(self._brands, document.brand or "")
        self.region_mask[row] = self._mask(row, document.regions)
        self.model_versions[row] = item.model_version if item.vector else 0
        return self._put_vector(row, vector)

    def _put_vector(self, row: int, vector: NDArray[np.float32] | None) -> bool:
        revived = not self.alive[row]
        had, has = bool(self.has_vector[row]), vector is not None
        self.alive[row] = True
        self.has_vector[row] = has
        if vector is None:
            return revived or had
        if had and not revived and np.array_equal(self.vectors[row], vector):
            return False
        self.vectors[row] = vector
        return True

    def _mask(self, row: int, regions: Sequence[str] | None) -> np.uint64:
        for further in self._further_regions.values():
            further.discard(row)
        if not regions:
            return EVERYWHERE
        mask = 0
        for region in regions:
            if region not in self._regions and len(self._regions) < MAX_REGION_BITS:
                self._regions[region] = len(self._regions)
            code = self._regions.get(region)
            if code is None:
                self._further_regions.setdefault(region, set()).add(row)
            else:
                mask |= 1 << code
        return np.uint64(mask)

    def _grow(self) -> None:
        wanted = self.count
        self.item_ids.extend("" for _ in range(wanted - len(self.item_ids)))
        self.documents.extend(_NO_DOCUMENT for _ in range(wanted - len(self.documents)))
        if self.dim is not None and self.vectors.shape[1] != self.dim:
            self.vectors = np.zeros((len(self.keys), self.dim), np.float32)
        self.keys = grown(self.keys, wanted)
        self.alive = grown(self.alive, wanted)
        self.price = grown(self.price, wanted)
        self.margin = grown(self.margin, wanted)
        self.stock = grown(self.stock, wanted)
        self.min_age = grown(self.min_age, wanted)
        self.created_ms = grown(self.created_ms, wanted)
        self.category = grown(self.category, wanted)
        self.top_category = grown(self.top_category, wanted)
        self.brand = grown(self.brand, wanted)
        self.region_mask = grown(self.region_mask, wanted)
        self.has_vector = grown(self.has_vector, wanted)
        self.model_versions = grown(self.model_versions, wanted)
        self.vectors = grown(self.vectors, wanted)


_NO_DOCUMENT = Item.model_construct(title="", category="", price=0.0)


def _code(vocabulary: dict[str, int], word: str) -> int:
    return vocabulary.setdefault(word, len(vocabulary))
