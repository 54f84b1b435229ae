"""What is said of words, once a word, and taken by code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expressions.check import milliseconds
from expressions.columns import Codes


def time_of(word: object) -> float:
    """Return what a text says as a date or a time, in epoch milliseconds; NaN for what says none."""
    if not isinstance(word, str):
        return float("nan")
    try:
        return milliseconds(word)
    except (ValueError, OverflowError):
        return float("nan")


class WordTable:
    """What a function says of each word, taken by code. Remembers it for the words that it was last asked about."""

    def __init__(self, told: Callable[[Sequence[object]], list[Any]], dtype: Any, unknown: Any) -> None:
        self._told, self._dtype, self._unknown = told, dtype, unknown
        self._words: Sequence[object] | None = None
        self._table: NDArray[Any] = np.array([unknown], dtype)

    def at(self, codes: Codes, words: Sequence[object]) -> NDArray[Any]:
        """Return what is said of words[codes], (n,); of code -1 what is unknown."""
        known = len(self._table) - 1
        if words is not self._words or len(words) != known:
            if words is not self._words:
                self._words, known = words, 0
            said = self._told(words[known:])
            self._table = np.concatenate([self._table[:known], np.array([*said, self._unknown], self._dtype)])
        return self._table.take(codes, mode="wrap")  # code -1 is the last
