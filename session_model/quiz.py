"""What somebody says they like, as a vector: items picked in a quiz, and words (style tags, answers)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.items import Item
from session_model.item_tower import ItemTower

PICKED: Final = 1.0
TAG: Final = 0.5
"""Weight of a word beside that of a picked item, which says more."""


def quiz_vector(tower: ItemTower, picked: NDArray[np.float32], tags: Sequence[str]) -> tuple[NDArray[np.float32], bool]:
    """Return the unit vector (d,) of picked items' vectors (n, d) and of tags, and whether anything was known.

    Each tag is embedded as an item of that title: the general tower knows what any word means, a trained one the words
    of titles that it learnt. Unknown tags and zero vectors say nothing; where nothing is known the vector is zero.
    """
    named = [tag for tag in tags if tag.strip()]
    words, known = tower.embed([""] * len(named), [Item(title=tag[:1000]) for tag in named])
    total = PICKED * picked.sum(axis=0) + TAG * words[known].sum(axis=0)  # (d,)
    norm = float(np.linalg.norm(total))
    if norm == 0.0:
        return np.zeros(tower.dim, np.float32), False
    return (total / norm).astype(np.float32), True
