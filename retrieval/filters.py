"""What items must be beside near: a filter over the catalogue's columns, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import ItemMask
from retrieval.key_rows import Rows

Mask = NDArray[np.bool_]
Keep = Callable[[Rows], Mask]
"""Which of rows (n,), all 0 or more, may be found."""


class Filter(NamedTuple):
    """What items must be, beside near. An empty filter lets all through."""

    category: str | None = None
    region: str | None = None
    in_stock: bool = False
    keep: tuple[ItemMask, ...] = ()
    """Conditions of a scenario or a request that read items alone."""


def lets_through(catalogue: CatalogueColumns, rows: Rows, wanted: Filter) -> Mask:
    """Return which rows (n,), all 0 or more, a filter lets through."""
    kept = np.ones(len(rows), np.bool_)
    for _, part in _parts(catalogue, wanted):
        kept &= part(rows)
    return kept


def mask_of(catalogue: CatalogueColumns, found: Mask, wanted: Filter | None) -> Mask:
    """Return which of the first rows, as many as `found` (n,) has, are found and let through by a filter, (n,)."""
    if wanted is None:
        return found
    if wanted.region is not None and catalogue.words.further_regions.get(wanted.region):
        rows = np.flatnonzero(found)
        mask = np.zeros(len(found), np.bool_)
        mask[rows[lets_through(catalogue, rows.astype(np.int32), wanted)]] = True
        return mask
    mask = found.copy()
    if wanted.region is not None:
        _only_in_region(catalogue.region_mask, catalogue.region_bit(wanted.region), mask)
    if wanted.category:
        _only_below(catalogue.category, catalogue.codes_below(wanted.category), mask)
    if wanted.in_stock:
        mask &= catalogue.stock[: len(mask)] > 0
    for keep in wanted.keep:
        mask &= catalogue.fields.mask(catalogue, keep)[: len(mask)]
    return mask


@kernel(reads("u8"), "u8", writes("?"))
def _only_in_region(region_mask: NDArray[np.uint64], bit: np.uint64, mask: Mask) -> None:
    for row in range(mask.shape[0]):
        mask[row] &= (region_mask[row] & bit) != 0


@kernel(reads("i4"), reads("?"), writes("?"))
def _only_below(category: NDArray[np.int32], below: Mask, mask: Mask) -> None:
    for row in range(mask.shape[0]):
        mask[row] &= below[category[row]]


def left_by(catalogue: CatalogueColumns, rows: Rows, wanted: Filter) -> dict[str, int]:
    """Return how many of rows (n,) there are as `items`, and how many each part of a filter, in turn, leaves."""
    left = {"items": len(rows)}
    for name, part in _parts(catalogue, wanted):
        rows = rows[part(rows)]
        left[name] = len(rows)
    return left


def _parts(catalogue: CatalogueColumns, wanted: Filter) -> list[tuple[str, Keep]]:
    parts: list[tuple[str, Keep]] = []
    if wanted.category:
        parts.append(("category", lambda rows: catalogue.below_category(rows, wanted.category or "")))
    if wanted.region is not None:
        parts.append(("region", lambda rows: catalogue.sold_in(rows, wanted.region)))
    if wanted.in_stock:
        parts.append(("in_stock", lambda rows: catalogue.stock[rows] > 0))
    if wanted.keep:
        kept = np.logical_and.reduce([catalogue.fields.mask(catalogue, keep) for keep in wanted.keep])
        parts.append(("filter", lambda rows: kept[rows]))
    return parts
