"""What a user's document says of their taste, as one vector: before the first click it is all there is to go by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.ids import item_key
from rerank.heard import Heard
from rerank.taste import blended
from retrieval.catalogue import CatalogueColumns
from session_model.general import general_version
from session_model.quiz import quiz_vector, word_vectors

Float32s = NDArray[np.float32]

SAID_WORTH: Final = 3.0
"""What a user said weighs like so many clicks beside those that were learnt."""
MOST_WORDS: Final = 20
"""Words that are looked at of one user: each costs as much as embedding an item."""
MOST_PICKED: Final = 200


class Said(NamedTuple):
    """What a document says of a taste: items (n,) and tags that are known, and those that are not."""

    vectors: Float32s
    tags: Sequence[str]
    unknown_items: Sequence[str]
    unknown_tags: Sequence[str]

    @property
    def is_known(self) -> bool:
        return bool(len(self.vectors) or self.tags)


def said_in(document: Mapping[str, Any], columns: CatalogueColumns, heard: Heard) -> Said | None:
    """Return what a user picked: items of the quiz and of the wishlist, tags of the quiz and of their style. None where
    there is nothing, or no catalogue.

    Tags are known where the general model serves and has a meaning for them, or an item is spelt so; to a trained one
    they say nothing, as it learnt titles, not tags.
    """
    quiz = _part(document, "quiz")
    picked = _texts(_listed(quiz, "items") + _listed(document, "wishlist"))[:MOST_PICKED]
    tags = _texts(_listed(quiz, "tags") + _listed(document, "style_tags"))[:MOST_WORDS]
    if not columns.count or not (picked or tags):
        return None
    vectors, known = columns.vectors_of(np.array([item_key(one) for one in picked], np.uint64))
    reads = columns.model_version == general_version()
    words = [tag for tag in tags if reads and heard.knows(columns, tag)]
    unknown = [one for one, is_known in zip(picked, known.tolist(), strict=True) if not is_known]
    return Said(vectors[known], words, unknown, [tag for tag in tags if tag not in words])


def said_taste(said: Said | None, columns: CatalogueColumns, version: int) -> Float32s | None:
    """Return the unit vector (d,) of what is known of what a user said; None where nothing is."""
    if said is None or not said.is_known or columns.model_version != version:
        return None
    words = (
        word_vectors(said.tags) if version == general_version() else np.zeros((0, said.vectors.shape[1]), np.float32)
    )
    found, is_known = quiz_vector(said.vectors, words)
    return found if is_known else None


def with_said(learnt: Float32s | None, said: Float32s | None, clicks: int) -> Float32s | None:
    """Return the taste of a user by what was learnt of `clicks` clicks and by what they said."""
    if learnt is None or said is None:
        return learnt if said is None else said
    return blended(learnt, said, clicks, SAID_WORTH)


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}


def _listed(document: Mapping[str, Any], name: str) -> list[Any]:
    values = document.get(name)
    return values if isinstance(values, list) else []


def _texts(values: Sequence[object]) -> list[str]:
    return [value for value in values if isinstance(value, str)]
