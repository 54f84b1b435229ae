"""What items must be beside near: a filter over the catalogue's columns, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import CatalogueColumns
from retrieval.key_rows import Rows

Mask = NDArray[np.bool_]
Keep = Callable[[Rows], Mask]
"""Which of rows (n,), all 0 or more, may be found."""


class Filter(NamedTuple):
    """What items must be, beside near. An empty filter lets all through."""

    category: str | None = None
    region: str | None = None
    in_stock: bool = False


def lets_through(catalogue: CatalogueColumns, rows: Rows, wanted: Filter) -> Mask:
    """Return which rows (n,), all 0 or more, a filter lets through."""
    kept = np.ones(len(rows), np.bool_)
    for _, part in _parts(catalogue, wanted):
        kept &= part(rows)
    return kept


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
    return parts
