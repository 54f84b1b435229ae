"""What fields hold, as arrays: of n items, or of one thing that counts for all of them.

Texts are codes into words: what a predicate says of a word is computed once a word, and taken by code. So a list of
words must be the same object from call to call, and grow at its end only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from expressions.types import Field

Codes = NDArray[np.int32]
"""(n,) or (1,) places in words; -1: unknown."""
Float64s = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Numbers(NamedTuple):
    """Numbers, or times in epoch milliseconds; NaN is unknown. (n,) or (1,)."""

    values: Float64s


class Words(NamedTuple):
    """Texts, or tuples of texts, or whatever open documents hold: JSON values, arrays as tuples."""

    codes: Codes
    words: Sequence[object]


class Open(NamedTuple):
    """A field of open documents: its values as words, and those that are numbers as numbers too."""

    numbers: Float64s
    codes: Codes
    words: Sequence[object]


class Frame(Protocol):
    """What an expression is evaluated over."""

    @property
    def size(self) -> int:
        """n"""

    @property
    def now_ms(self) -> float:
        """Epoch milliseconds of the request."""

    def column(self, field: Field) -> Numbers | Words | Open:
        """Return a field's values: Numbers for a number or a time, Open for what is in an open document, else Words."""
