"""The general model: items by their words, without anything learnt from a shop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.events import EventCode
from contracts.items import Item
from session_model.general import DIM, general_encoder, general_tower, general_version
from session_model.serving import load_encoder, load_tower


def likeness(one: Item, *others: Item) -> list[float]:
    vectors, known = general_tower().embed([f"i{at}" for at in range(len(others) + 1)], [one, *others])
    assert known.all()
    return [round(float(cosine), 2) for cosine in vectors[1:] @ vectors[0]]


def test_words_of_like_meaning_are_alike_without_a_letter_in_common() -> None:
    boot, sock, grinder = likeness(
        Item(title="Trekking shoe"), Item(title="hiking boot"), Item(title="wool sock"), Item(title="coffee grinder")
    )
    assert boot > sock > grinder
    assert boot > 0.3


@pytest.mark.parametrize(
    ("one", "near", "far"),
    [
        ("Wanderstiefel Leder", "Wanderschuhe", "Stehlampe LED"),
        ("buty trekkingowe", "kijki trekkingowe", "lampa stojąca"),
        ("トレッキングシューズ", "トレッキングポール", "コーヒーミル"),
    ],
)
def test_words_of_one_stem_are_alike_in_any_language(one: str, near: str, far: str) -> None:
    alike, apart = likeness(Item(title=one), Item(title=near), Item(title=far))
    assert alike > apart + 0.2


def test_a_category_says_what_a_title_does_not() -> None:
    lamp = Item(title="Model 7", category="home/lamps")
    same, other = likeness(lamp, Item(title="Quanta", category="home/lamps"), Item(title="Quanta", category="office"))
    assert same > other + 0.2


def test_an_item_without_words_is_unknown() -> None:
    bare = [Item(title="sku-1"), Item(title="!"), Item(title="boot")]
    vectors, known = general_tower().embed(["sku-1", "b", "c"], bare)
    assert known.tolist() == [False, False, True]
    assert not vectors[:2].any()


WORDS = st.text(max_size=40)


@given(
    items=st.lists(
        st.builds(
            Item,
            title=st.text(min_size=1, max_size=60),
            category=WORDS,
            brand=st.none() | WORDS,
            description=st.none() | WORDS,
            attributes=st.none() | st.dictionaries(WORDS, WORDS | st.lists(WORDS) | st.integers() | st.none()),
        ),
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_item_has_a_unit_vector_or_none_whatever_stands_beside_it(items: list[Item]) -> None:
    tower, ids = general_tower(), [f"i{at}" for at in range(len(items))]
    vectors, known = tower.embed(ids, items)
    assert (vectors.shape, vectors.dtype) == ((len(items), DIM), np.float32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), known, atol=1e-5)
    for at, item in enumerate(items):
        alone, _ = tower.embed([ids[at]], [item])
        assert np.array_equal(alone[0], vectors[at])


def test_it_is_a_model_like_any_other_with_a_version_of_its_own() -> None:
    tower, encoder = load_tower(""), load_encoder("")
    assert (tower.version, encoder.version) == (general_version(), general_version())
    assert (tower.dim, encoder.dim, encoder.width) == (DIM, DIM, DIM)
    assert f"{general_version():016x}" == "875a6c60e2f42478"


def test_a_click_moves_the_session_towards_its_item_and_other_events_do_not() -> None:
    encoder = general_encoder()
    boot, lamp = np.eye(DIM, dtype=np.float32)[:2]
    state = encoder.step(encoder.empty(1), boot[None], np.array([EventCode.VIEW], np.uint8))
    assert encoder.query(state)[0] == pytest.approx(boot)
    state = encoder.step(state, lamp[None], np.array([EventCode.OTHER], np.uint8))
    assert encoder.query(state)[0] == pytest.approx(boot)
    state = encoder.step(state, lamp[None], np.array([EventCode.CART], np.uint8))
    assert state[0, :2] == pytest.approx([0.45 * 0.4, 0.6], abs=1e-3)
