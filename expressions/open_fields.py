"""Comparisons of two fields of open documents: of what type they are is known of each value alone.

Numbers compare with numbers, texts with texts, truths with truths. What is missing, a list, and two values of different
types make the comparison unknown. `<` and its kind compare numbers, and texts that are times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from expressions.columns import Frame, Mask, Open
from expressions.word_tables import WordTable, time_of

OpensOf = Callable[[Frame], Open]
MaskOf = Callable[[Frame], Mask]

_NONE: Final = 0
_TEXT: Final = 1
_TRUTH: Final = 2
_KIND_BITS: Final = 2
_HASHED: Final = (1 << 61) - 1


def open_equal(left: OpensOf, right: OpensOf, wanted: bool) -> MaskOf:
    """Return where two values are certainly equal, or (`wanted` False) certainly different: (n,) or (1,)."""
    tables = _marks_table(), _marks_table()

    def equal(frame: Frame) -> Mask:
        one, other = left(frame), right(frame)
        ours, theirs = _marks(tables[0], one), _marks(tables[1], other)
        same: Mask = (one.numbers == other.numbers) | ((ours == theirs) & (ours != _NONE))
        return same

    def differ(frame: Frame) -> Mask:
        one, other = left(frame), right(frame)
        ours, theirs = _marks(tables[0], one), _marks(tables[1], other)
        alike = (ours ^ theirs) & ((1 << _KIND_BITS) - 1) == 0  # in kind; of no kind they are the same
        apart: Mask = (one.numbers < other.numbers) | (one.numbers > other.numbers) | ((ours != theirs) & alike)
        return apart

    return equal if wanted else differ


def open_ordered(left: OpensOf, right: OpensOf, compare: Callable[[Any, Any], Any]) -> MaskOf:
    """Return where two numbers, or two texts that are times, certainly compare so: (n,) or (1,)."""
    tables = _times_table(), _times_table()

    def read(frame: Frame) -> Mask:
        one, other = left(frame), right(frame)
        times = [table.at(held.codes, held.words) for table, held in zip(tables, (one, other), strict=True)]
        found: Mask = compare(one.numbers, other.numbers) | compare(*times)
        return found

    return read


def _marks(table: WordTable, held: Open) -> NDArray[np.int64]:
    return table.at(held.codes, held.words)


def _marks_table() -> WordTable:
    return WordTable(_marks_of, np.int64, _NONE)


def _marks_of(words: Sequence[object]) -> list[int]:
    """Return a mark of each word: equal texts and truths have equal ones, and the low bits are the kind.

    A text's is its hash in this process, which no client can aim at: 61 bits, so two texts of a comparison look alike
    once in 10^18. Numbers are compared as numbers.
    """
    return [
        (hash(word) & _HASHED) << _KIND_BITS | _TEXT
        if isinstance(word, str)
        else int(word) << _KIND_BITS | _TRUTH
        if isinstance(word, bool)
        else _NONE
        for word in words
    ]


def _times_table() -> WordTable:
    return WordTable(lambda words: [time_of(word) for word in words], np.float64, np.nan)
