"""The item tower: content and ids become vectors, and what it never saw stays unknown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import ArtifactError
from contracts.ids import item_key
from contracts.items import Item
from session_model import artifact, content
from session_model.item_tower import ItemTower

DIM = 4


def make_arrays(trained_ids: list[str], trained_items: list[Item], image_length: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    id_keys = np.array(sorted(item_key(name) for name in trained_ids), np.uint64)
    token_keys = np.unique(content.tokens_of(trained_items).keys)
    return {
        "id_keys": id_keys,
        "id_table": rng.normal(size=(len(id_keys), DIM)).astype(np.float16),
        "token_keys": token_keys,
        "token_table": rng.normal(size=(len(token_keys), DIM)).astype(np.float16),
        "field_weights": np.arange(1, len(content.Field) + 1, dtype=np.float32),
        "image_projection": rng.normal(size=(image_length, DIM)).astype(np.float32),
    }


SHOE = Item(title="Trail shoe", category="shoes/running", brand="Alba", price=80.0, attributes={"color": "red"})


def test_a_known_item_has_a_unit_vector() -> None:
    tower = ItemTower(**make_arrays(["a"], [SHOE]), version=1)
    vectors, known = tower.embed(["a", "new"], [SHOE, SHOE])
    assert known.tolist() == [True, True]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1.0, 1.0], atol=1e-6)
    assert vectors.dtype == np.float32
    assert float(np.abs(vectors[0] - vectors[1]).max()) > 0.01  # the id adds to the content


def test_an_item_with_neither_trained_id_nor_trained_content_is_unknown() -> None:
    tower = ItemTower(**make_arrays(["a"], [SHOE]), version=1)
    vectors, known = tower.embed(["zzz"], [Item(title="zzz")])
    assert known.tolist() == [False]
    assert vectors.tolist() == [[0.0] * DIM]


def test_a_bare_item_with_a_trained_id_has_the_id_vector() -> None:
    arrays = make_arrays(["a", "b"], [])
    tower = ItemTower(**arrays, version=1)
    vectors, known = tower.embed(["b"], [Item(title="b")])
    row = arrays["id_table"][list(arrays["id_keys"]).index(item_key("b"))].astype(np.float32)
    np.testing.assert_allclose(vectors[0], row / np.linalg.norm(row), atol=1e-6)
    assert known.tolist() == [True]


def test_the_vector_is_the_weighted_sum_of_the_fields_means() -> None:
    arrays = make_arrays([], [SHOE])
    tower = ItemTower(**arrays, version=1)
    table = dict(zip(arrays["token_keys"].tolist(), arrays["token_table"].astype(np.float32), strict=True))
    tokens = content.tokens_of([SHOE])
    expected = np.zeros(DIM, np.float32)
    for field in content.Field:
        keys = tokens.keys[tokens.fields == field].tolist()
        if keys:
            expected += (field + 1) * np.mean([table[key] for key in keys], axis=0)
    vectors, _ = tower.embed(["a"], [SHOE])
    np.testing.assert_allclose(vectors[0], expected / np.linalg.norm(expected), atol=1e-5)


def test_words_that_were_not_trained_change_nothing() -> None:
    tower = ItemTower(**make_arrays([], [SHOE]), version=1)
    longer = SHOE.model_copy(update={"title": "Trail shoe qqqq", "supplier": "nobody"})
    vectors, _ = tower.embed(["a", "b"], [SHOE, longer])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)


def test_items_of_one_category_share_its_ancestors() -> None:
    tokens = content.tokens_of([Item(title="x1", category="Shoes/Running/Trail")])
    assert int((tokens.fields == content.Field.CATEGORY).sum()) == 3
    other = content.tokens_of([Item(title="x2", category="shoes/running/road")])
    shared = set(tokens.keys.tolist()) & set(other.keys.tolist())
    assert len(shared) == 2


def test_an_image_vector_counts_when_its_length_is_the_trained_one() -> None:
    arrays = make_arrays([], [], image_length=3)
    tower = ItemTower(**arrays, version=1)
    items = [Item(title="q", image_vector=[0.0, 2.0, 0.0]), Item(title="q", image_vector=[1.0, 1.0])]
    vectors, known = tower.embed(["a", "b"], items)
    assert known.tolist() == [True, False]
    row = arrays["image_projection"][1]
    np.testing.assert_allclose(vectors[0], row / np.linalg.norm(row), atol=1e-6)


def test_items_embed_alike_alone_and_in_a_batch() -> None:
    items = [Item(title=f"shoe {n % 7} of {n % 3}", category=f"c{n % 5}", price=float(n)) for n in range(5000)]
    ids = [str(n) for n in range(len(items))]
    tower = ItemTower(**make_arrays(ids[:100], items[:50]), version=1)
    vectors, known = tower.embed(ids, items)
    for row in (0, 99, 2047, 2048, 4999):
        alone, alone_known = tower.embed([ids[row]], [items[row]])
        np.testing.assert_allclose(vectors[row], alone[0], atol=1e-6)
        assert known[row] == alone_known[0]


def test_loading_gives_back_what_was_saved(tmp_path: Path) -> None:
    arrays = make_arrays(["a"], [SHOE], image_length=2)
    saved = artifact.save(tmp_path / "m", kind="session_model", dim=DIM, arrays=arrays, created_from={})
    loaded = ItemTower.load(tmp_path / "m")
    assert loaded.version == saved.number
    assert loaded.embed(["a"], [SHOE])[0].tolist() == ItemTower(**arrays, version=1).embed(["a"], [SHOE])[0].tolist()


def test_keys_out_of_order_are_refused() -> None:
    arrays = make_arrays(["a", "b"], [SHOE])
    with pytest.raises(ArtifactError, match="ascending order"):
        ItemTower(**{**arrays, "id_keys": arrays["id_keys"][::-1]}, version=1)


def test_no_items_give_no_vectors() -> None:
    vectors, known = ItemTower(**make_arrays([], [SHOE]), version=1).embed([], [])
    assert vectors.shape == (0, DIM)
    assert known.shape == (0,)


def test_thousands_of_items_at_once() -> None:
    words = [f"word{n}" for n in range(400)]
    rng = np.random.default_rng(0)
    items = [
        Item(
            title=" ".join(rng.choice(words, 5)),
            description=" ".join(rng.choice(words, 20)),
            category=f"a/b{n % 9}/c{n % 71}",
            brand=f"brand{n % 50}",
            price=5.0 + n % 200,
        )
        for n in range(4000)
    ]
    tower = ItemTower(**make_arrays([], items), version=1)
    vectors, known = tower.embed([str(n) for n in range(4000)], items)
    assert known.all()
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
