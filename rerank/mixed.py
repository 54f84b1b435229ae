"""A list for somebody of whom nothing is known: mixed by category, as what they want is anybody's guess."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.key_rows import Rows

IN_A_ROW: Final = 2
"""Items of one category that stand together, while there are others."""


def mixed(rows: Rows, category: NDArray[np.int32]) -> Rows:
    """Return rows (n,), best first, in turns: two of each category, best category first, then two more of each.

    `category` (n,) is the code of each. Within a category the order stays.
    """
    n = len(rows)
    by_category = np.argsort(category, kind="stable")  # (n,) places, of one category together
    starts = np.flatnonzero(np.diff(category[by_category], prepend=-1))
    lengths = np.diff(starts, append=n)
    within = np.empty(n, np.intp)
    within[by_category] = np.arange(n) - np.repeat(starts, lengths)
    first = np.empty(n, np.intp)
    first[by_category] = np.repeat(by_category[starts], lengths)
    turn: Rows = rows[np.lexsort((within, first, within // IN_A_ROW))]
    return turn
