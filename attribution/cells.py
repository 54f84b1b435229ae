"""Cells: counters by hour and dimensions, in whole ten-thousandths, and how they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from attribution.facts import Dims

HOUR_MS: Final = 3_600_000


class Cell(NamedTuple):
    """One counter of one hour (whole hours since 1970)."""

    hour: int
    dims: Dims
    counter: str


Cells = Counter[Cell]


def field_of(cell: Cell) -> bytes:
    """Write dimensions and counter of a cell; its hour stands in the key."""
    return orjson.dumps([*cell.dims, cell.counter])


def cell_of(hour: int, field: bytes) -> Cell:
    """Read what `field_of` wrote. Raises ValueError for anything else."""
    parts = orjson.loads(field)
    if not isinstance(parts, list) or len(parts) != len(Dims._fields) + 1 or not all(isinstance(p, str) for p in parts):
        raise ValueError(f"expected {len(Dims._fields) + 1} texts of a cell, got {field[:80]!r}")
    return Cell(hour, Dims(*parts[:-1]), parts[-1])


def cells_of(kept: Mapping[int, Mapping[bytes, int]]) -> Cells:
    """Read the cells of hours, as they are written; what is none is left out."""
    cells: Cells = Counter()
    for hour, fields in kept.items():
        for field, count in fields.items():
            try:
                cells[cell_of(hour, field)] = count
            except ValueError:
                continue  # damage: nobody can say what was counted
    return cells


def without_zeros(cells: Cells) -> Cells:
    return Counter({cell: count for cell, count in cells.items() if count})
