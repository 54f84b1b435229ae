"""What somebody says they like, as a vector: items picked in a quiz, and words (style tags, answers)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.items import Item
from session_model.general import DIM, general_tower

PICKED: Final = 1.0
TAG: Final = 0.5
"""Weight of a word beside that of a picked item, which says more."""


def quiz_vector(picked: NDArray[np.float32], words: NDArray[np.float32]) -> tuple[NDArray[np.float32], bool]:
    """Return the unit vector (d,) of picked items' vectors (n, d) and of words' (m, d), and whether anything is known.

    Zero vectors say nothing; where nothing is known the vector is zero.
    """
    total = PICKED * picked.sum(axis=0) + TAG * words.sum(axis=0)  # (d,)
    norm = float(np.linalg.norm(total))
    if norm == 0.0:
        return np.zeros(total.shape, np.float32), False
    return (total / norm).astype(np.float32), True


def word_vectors(words: Sequence[str]) -> NDArray[np.float32]:
    """Return the general model's vectors (n, d) of words, each as an item of that title; zeros of one unread."""
    return np.stack([_of_word(word) for word in words]) if words else np.zeros((0, DIM), np.float32)


@lru_cache(maxsize=4096)
def _of_word(word: str) -> NDArray[np.float32]:
    """Return (d,). Tags are few, and asked for again and again."""
    if not word.strip():
        return np.zeros(DIM, np.float32)
    vectors, _ = general_tower().embed([""], [Item(title=word[:1000])])
    vector: NDArray[np.float32] = vectors[0]
    return vector
