"""What somebody picked in a quiz, as a vector in the space of items."""

from __future__ import annotations

import numpy as np

from contracts.items import Item
from session_model.general import DIM, general_tower
from session_model.quiz import quiz_vector, word_vectors

ITEMS = [Item(title=title) for title in ("Hiking boot", "Trekking poles", "Espresso machine", "Coffee cup")]


def order(picked: list[int], tags: list[str]) -> list[str]:
    vectors, _ = general_tower().embed(["a", "b", "c", "d"], ITEMS)
    wanted, known = quiz_vector(vectors[picked], word_vectors(tags))
    assert known
    return [ITEMS[row].title for row in np.argsort(-(vectors @ wanted)).tolist()]


def test_tags_and_picked_items_say_what_is_near() -> None:
    assert set(order([], ["mountains", "outdoor hiking"])[:2]) == {"Hiking boot", "Trekking poles"}
    assert set(order([2], [])[:2]) == {"Espresso machine", "Coffee cup"}


def test_a_picked_item_says_more_than_a_tag() -> None:
    assert order([2], ["hiking"])[0] == "Espresso machine"


def test_nothing_said_is_no_vector() -> None:
    for tags in ([], ["", "  "], ["!"]):
        vector, known = quiz_vector(np.zeros((0, DIM), np.float32), word_vectors(tags))
        assert (vector.any(), known) == (False, False)
