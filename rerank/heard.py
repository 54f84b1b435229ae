"""Which words the general model knows in a catalogue: letters without sense are a little like every item."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from retrieval.catalogue import CatalogueColumns
from session_model.general import WORD_DIM, general_tower, words_of

LEAST_LIKE: Final = 0.35
"""Cosine of the spellings of a word and of the item that is most like it, from which on the word is known. 60 words of
German titles had 0.54 at least, 60 of random letters 0.31 at most.
"""
_ITEMS: Final = 4000
"""Items that a word is compared with, spread over the catalogue: 1 ms for a word that was not asked for lately."""
_KEPT: Final = 4096
_GROWN: Final = 1.1


class Heard:
    """Answers for words, and remembers them until the catalogue is another or has grown by a tenth. Threads may share
    it: each works on one memory from beginning to end.
    """

    def __init__(self) -> None:
        self._memory: _Memory | None = None

    def knows(self, catalogue: CatalogueColumns, text: str) -> bool:
        """Say whether one of a text's words has a meaning, or is spelt like words of an item. The catalogue's vectors
        must be the general model's.
        """
        memory = self._memory
        if memory is None or not memory.is_of(catalogue):
            memory = self._memory = _Memory(catalogue)
        return memory.knows(text)


class _Memory:
    """What was said of words in a catalogue as it was."""

    def __init__(self, catalogue: CatalogueColumns) -> None:
        self._catalogue, self._count = catalogue, catalogue.count
        self._said: dict[str, bool] = {}

    def is_of(self, catalogue: CatalogueColumns) -> bool:
        grown = _GROWN * self._count + 10
        return catalogue is self._catalogue and self._count <= catalogue.count <= grown and len(self._said) < _KEPT

    def knows(self, text: str) -> bool:
        found = self._said.get(text)
        if found is None:
            found = self._said[text] = any(map(self._is_known, words_of(text)))
        return found

    def _is_known(self, word: str) -> bool:
        tower, words = general_tower(), self._catalogue.words
        if tower.has_meaning(word) or any(word in words_of(path) for path in (*words.categories, *words.brands)):
            return True
        return bool((self._spellings @ tower.spelling_of(word)).max(initial=0.0) >= LEAST_LIKE)

    @cached_property
    def _spellings(self) -> NDArray[np.float32]:
        """Unit vectors (n, d) of how items are spelt."""
        rows = np.flatnonzero(self._catalogue.alive[: self._count])
        if len(rows) > _ITEMS:
            rows = rows[np.linspace(0, len(rows) - 1, _ITEMS).astype(np.intp)]
        vectors = self._catalogue.vectors[rows, WORD_DIM:]
        unit: NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        return unit
