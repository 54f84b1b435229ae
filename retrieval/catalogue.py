"""The catalogue as arrays: one row an item, fed by the catalogue table's changes.

A row is never given away: a deleted item stays as a tombstone (`alive` is False) and takes its old row again when it
comes back. Vectors of one model version only are held, so no search can mix two models.

Columns may begin as copy-on-write memory maps of a snapshot (`snapshot_catalogue.open_catalogue`): processes share
every page that none of them has written, and each one's own changes are its delta. Nothing that reads columns can tell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import orjson
import xxhash
from numpy.typing import NDArray

from contracts.ids import ItemKey, item_key, unremembered_item_key
from contracts.items import CatalogueRow, Item, item_of
from retrieval.columns import grown
from retrieval.item_fields import ItemFields
from retrieval.key_rows import KeyRows, Keys, Rows
from retrieval.row_values import RowValues

EVERYWHERE = np.uint64(2**64 - 1)
"""`region_mask` of an item that lists no regions."""
_ELSEWHERE_BIT = np.uint64(1 << 63)
"""Set in EVERYWHERE alone: what a region that has no bit of its own is looked up by."""
MAX_REGION_BITS = 63

NO_DIGESTS: Final[Mapping[ItemKey, int]] = {}
_REMEMBERED = 256
"""Category prefixes whose codes are kept looked up."""

NO_CODE = 0
"""Category or brand code of an item that names none."""


COLUMNS: Final = (
    "keys",
    "alive",
    "price",
    "margin",
    "stock",
    "min_age",
    "created_ms",
    "category",
    "top_category",
    "brand",
    "region_mask",
    "has_vector",
    "model_versions",
    "digests",
)
"""Names of the columns of one number a row. `vectors` is the one beside them."""


class Applied(NamedTuple):
    """Rows that a batch of changes touched, and those of them whose vector or life changed: the index wants these."""

    rows: Rows
    reindex: Rows


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words behind the codes: category paths, brands, regions by bit; and the rows of regions without a bit."""

    categories: dict[str, int] = field(default_factory=lambda: {"": NO_CODE})
    brands: dict[str, int] = field(default_factory=lambda: {"": NO_CODE})
    regions: dict[str, int] = field(default_factory=dict)
    further_regions: dict[str, set[int]] = field(default_factory=dict)


class CatalogueColumns:
    """Columns by row. Read `count` rows of each; what lies beyond is spare room. For one thread.

    `model_version` is the version of the vectors that are wanted (the encoder's). A row of any other version counts as
    having no vector. Left out, the first vector that comes sets it. `dim` likewise.

    Columns: `keys` u64 · `item_ids`, `documents` lists · `alive` bool · `price`, `margin` f4 (NaN: not given) · `stock`
    i4 · `min_age` i2 years · `created_ms` i8 · `category`, `top_category`, `brand` i4 codes (NO_CODE: none) ·
    `region_mask` u64 · `vectors` (rows, d) f4 unit norm · `has_vector` bool · `model_versions` u64 · `digests` u64
    (`digest_of` the encoded row that was applied, 0: not given).
    """

    def __init__(self, *, model_version: int | None = None, dim: int | None = None) -> None:
        self.model_version = model_version
        self.dim = dim
        self._rows = KeyRows()
        self.item_ids = RowValues(bytes.decode, str.encode)
        self.documents = RowValues(decode_document, encode_document)
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
        self.digests = np.zeros(0, np.uint64)
        self.vectors = np.zeros((0, dim or 0), np.float32)
        self.words = Vocabulary()
        self.fields = ItemFields()
        self._codes_below: dict[str, tuple[int, NDArray[np.bool_]]] = {}

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

    def apply(
        self, changes: Iterable[tuple[ItemKey, CatalogueRow | None]], digests: Mapping[ItemKey, int] = NO_DIGESTS
    ) -> Applied:
        """Take table changes in order; None deletes. Changes are absolute: the last one of a key counts.

        `digests` are those of the encoded rows, for `holds`. A row that has one is of the table, whose keys are those
        of the item ids.

        Raises ValueError, before anything is changed, when a vector of the wanted model version has another size than
        the columns hold or is not finite, when two item ids share a key, or when a row of the table names an item of
        another key.
        """
        latest = dict(changes)
        vectors = self._checked_vectors(latest)
        self._check_ids(latest, digests)
        keys = np.fromiter(latest, np.uint64, len(latest))
        rows = self._rows.add(keys)
        self._grow()
        reindex = [
            row
            for row, (key, item) in zip(rows.tolist(), latest.items(), strict=True)
            if self._put(row, key, item, vectors.get(key))
        ]
        self.digests[rows] = [digests.get(key, 0) for key in latest]
        self.fields.put(rows)
        return Applied(rows, np.array(reindex, np.int32))

    def holds(self, keys: Keys, digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which items are here, alive, exactly as the encoded rows with these digests say, (n,)."""
        rows = self.rows_of(keys)
        if not self.count:
            return np.zeros(len(keys), np.bool_)
        held: NDArray[np.bool_] = (rows >= 0) & self.alive[rows] & (self.digests[rows] == digests) & (digests != 0)
        return held

    def open_rows(self, rows: KeyRows) -> None:
        """Take the id table of a snapshot; the columns are set beside it."""
        self._rows = rows

    def replace_in_place(self, other: CatalogueColumns) -> None:
        """Be what `other` is, at once: what hot swap calls between two requests. `other` must not be used any more."""
        self.__dict__.update(other.__dict__)

    def frozen(self) -> CatalogueColumns:
        """Return a shallow copy that another thread may read and filter by while this one goes on: the columns are
        shared, the words that filters look up are its own, for they must not change meanwhile.
        """
        still, words = copy(self), self.words
        further = {region: set(held) for region, held in words.further_regions.items()}
        still.words = Vocabulary(dict(words.categories), words.brands, dict(words.regions), further)
        still._codes_below, still.fields = {}, ItemFields()
        return still

    def compacted(self) -> CatalogueColumns:
        """Return new columns, in memory, of what is alive. These must not change any more."""
        rows = np.flatnonzero(self.alive[: self.count]).astype(np.int32)
        fresh = CatalogueColumns(model_version=self.model_version, dim=self.dim)
        fresh._rows.add(self.keys[rows])
        for name in (*COLUMNS, "vectors"):
            setattr(fresh, name, getattr(self, name)[rows])
        fresh.item_ids, fresh.documents = self.item_ids.picked(rows), self.documents.picked(rows)
        place = np.full(self.count, -1, np.int64)
        place[rows] = np.arange(len(rows))
        further = {
            region: {at for at in place[list(held)].tolist() if at >= 0}
            for region, held in self.words.further_regions.items()
        }
        words = self.words
        fresh.words = Vocabulary(dict(words.categories), dict(words.brands), dict(words.regions), further)
        return fresh

    def rows_of(self, keys: Keys) -> Rows:
        """Return the row of every key, int32 of the keys' shape; -1 for a key that was never here."""
        return self._rows.rows_of(keys)

    def margins_of(self, keys: Sequence[ItemKey]) -> list[float] | None:
        """Return each item's margin, a share of its price, NaN for one without; None where no item has one."""
        if not self.count:
            return None
        rows = self.rows_of(np.array(keys, np.uint64))
        margins: list[float] = self.margin[rows].astype(np.float64).round(6).tolist()
        if (rows < 0).any():
            margins = [margin if row >= 0 else math.nan for margin, row in zip(margins, rows.tolist(), strict=True)]
        return None if all(margin != margin for margin in margins) else margins

    @property
    def slots(self) -> tuple[Keys, Rows]:
        """`rows_of` as arrays, for kernels: see `KeyRows.slots`."""
        return self._rows.slots

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
        further = self.words.further_regions.get(region)
        if further:
            sold |= np.isin(rows, np.fromiter(further, np.int32, len(further)))
        return sold

    def region_bit(self, region: str) -> np.uint64:
        """Return the bit of `region_mask` that says sold there; a region without one of its own gets the bit that
        only EVERYWHERE has.
        """
        code = self.words.regions.get(region)
        return _ELSEWHERE_BIT if code is None else np.uint64(1 << code)

    def category_code(self, path: str) -> int:
        """Return the code of a category path, -1 for one that no item has had."""
        return self.words.categories.get(path, -1)

    def below_category(self, rows: Rows, path: str) -> NDArray[np.bool_]:
        """Return which of the rows are in a category or below it, (n,)."""
        found: NDArray[np.bool_] = self.codes_below(path)[self.category[rows]]
        return found

    def codes_below(self, path: str) -> NDArray[np.bool_]:
        """Return which category codes are of a path or below it, by code."""
        path = "/".join(part for part in path.split("/") if part)
        words = self.words.categories
        if path not in self._codes_below or self._codes_below[path][0] != len(words):
            below = np.array([word == path or word.startswith(path + "/") for word in words], np.bool_)
            if len(self._codes_below) > _REMEMBERED:
                self._codes_below.clear()
            self._codes_below[path] = (len(words), below)
        return self._codes_below[path][1]

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

    def _check_ids(self, latest: dict[ItemKey, CatalogueRow | None], digests: Mapping[ItemKey, int]) -> None:
        rows = self._rows.rows_of(np.fromiter(latest, np.uint64, len(latest)))
        for at, (key, item) in zip(rows.tolist(), latest.items(), strict=True):
            if item is None:
                continue
            if key in digests and unremembered_item_key(item.item_id) != key:
                raise ValueError(
                    f"the row {key:016x} names item {item.item_id!r}, which has another key: put its item again"
                )
            held = self.item_ids[at] if at >= 0 else ""
            if held and held != item.item_id and item_key(held) == key:
                raise ValueError(f"items {held!r} and {item.item_id!r} share the key {key:016x}: rename one of them")

    def _put(self, row: int, key: ItemKey, item: CatalogueRow | None, vector: NDArray[np.float32] | None) -> bool:
        """Write one row. Returns whether the index must look at it again."""
        self.keys[row] = key
        if item is None:
            was_alive = bool(self.alive[row])
            self.alive[row] = False
            return was_alive
        document = item.item
        path = document.category_path
        if self.words.further_regions:
            self._leave_regions(row)
        self.item_ids[row] = item.item_id
        self.documents[row] = document
        self.price[row] = np.nan if document.price is None else document.price
        self.margin[row] = np.nan if document.margin is None else document.margin
        self.stock[row] = item.stock
        self.min_age[row] = document.min_age or 0
        self.created_ms[row] = item.created_ms
        self.category[row] = _code(self.words.categories, path[-1] if path else "")
        self.top_category[row] = _code(self.words.categories, path[0] if path else "")
        self.brand[row] = _code(self.words.brands, document.brand or "")
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

    def _leave_regions(self, row: int) -> None:
        """Take a row out of the regions without a bit that it was sold in so far: those of its document."""
        held = self.words.further_regions
        for region in self.documents[row].regions or ():
            if (rows := held.get(region)) is not None:
                rows.discard(row)
                if not rows:
                    del held[region]

    def _mask(self, row: int, regions: Sequence[str] | None) -> np.uint64:
        if not regions:
            return EVERYWHERE
        mask = 0
        for region in regions:
            if region not in self.words.regions and len(self.words.regions) < MAX_REGION_BITS:
                self.words.regions[region] = len(self.words.regions)
            code = self.words.regions.get(region)
            if code is None:
                self.words.further_regions.setdefault(region, set()).add(row)
            else:
                mask |= 1 << code
        return np.uint64(mask)

    def _grow(self) -> None:
        wanted = self.count
        self.item_ids.extend_to(wanted, "")
        self.documents.extend_to(wanted, _NO_DOCUMENT)
        if self.dim is not None and self.vectors.shape[1] != self.dim:
            self.vectors = np.zeros((len(self.keys), self.dim), np.float32)
        for name in (*COLUMNS, "vectors"):
            setattr(self, name, grown(getattr(self, name), wanted))


_NO_DOCUMENT = Item.model_construct(title="", category="")


def _code(vocabulary: dict[str, int], word: str) -> int:
    return vocabulary.setdefault(word, len(vocabulary))


def digest_of(raw: bytes) -> int:
    """Return the digest of an encoded catalogue row (`contracts.codec.encode_row`), never 0."""
    return xxhash.xxh3_64_intdigest(raw) or 1


def decode_document(raw: bytes) -> Item:
    """Decode what `encode_document` made."""
    return item_of(orjson.loads(raw))


def encode_document(item: Item) -> bytes:
    """Encode an item as a snapshot keeps it: without stock (a column) and image vector (the tower has seen it)."""
    return orjson.dumps(item.model_dump(exclude_none=True, exclude={"stock", "image_vector"}))
