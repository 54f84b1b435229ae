"""Growable numpy columns: room for more rows, doubled when it runs out."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Column = TypeVar("Column", bound=NDArray[Any])

_FIRST_ROWS = 1024


def grown(column: Column, rows: int, fill: Any = 0) -> Column:
    """Return the column, or a copy with room for at least `rows` rows, the new ones holding `fill`."""
    if rows <= len(column):
        return column
    room = max(_FIRST_ROWS, rows, 2 * len(column))
    wider = np.full((room, *column.shape[1:]), fill, column.dtype)
    wider[: len(column)] = column
    return wider  # type: ignore[return-value]
