"""Search in eight bits finds what the search in full finds: filtered, while items change, and in batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from retrieval.ann_index import AnnIndex, Filter
from retrieval.catalogue import CatalogueColumns

WORDS = [None, "a", "a/b", "nowhere"]
REGIONS = ["DE", "FR", *(f"R{number}" for number in range(70))]
"""More than have a bit of their own."""


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def row(key: int, random: np.random.Generator, dim: int) -> tuple[ItemKey, CatalogueRow | None]:
    if random.random() < 0.2:
        return ItemKey(key), None
    raw = unit(random.normal(size=dim)).astype("<f4").tobytes() if random.random() < 0.8 else b""
    regions = None if random.random() < 0.3 else random.choice(REGIONS[:70], int(random.choice([1, 3, 40]))).tolist()
    item = Item(title="t", category=str(random.choice(["", "a/b", "a/c", "d"])), regions=regions)
    return ItemKey(key), CatalogueRow(f"i{key}", item, int(random.integers(0, 3)), 0, 7 if raw else 0, raw)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_what_is_found_is_what_the_search_in_full_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    dim, items = int(random.choice([3, 16, 50])), int(random.choice([1, 40, 700]))
    catalogue = CatalogueColumns(dim=dim, model_version=7)
    index = AnnIndex(catalogue)
    for _ in range(4):
        changed = random.integers(0, items, int(random.integers(1, items + 1)))
        index.apply(catalogue.apply([row(int(key), random, dim) for key in changed]).reindex)
        b, k = int(random.choice([1, 2, 8])), int(random.choice([1, 20, 200]))
        queries = unit(random.normal(size=(b, dim)))
        wanted = [
            Filter(random.choice(WORDS), random.choice([None, "DE", "R68", "??"]), bool(random.random() < 0.5))
            if random.random() < 0.7
            else None
            for _ in range(b)
        ]
        for filters in (wanted, []):
            rows, similarity = index.search(queries, k, filters)
            if not len(index):
                assert (rows == -1).all()
                continue
            expected, at = index.search_exact(queries, k, filters)
            width = expected.shape[1]
            hidden = (at == 0) if filters else np.zeros(at.shape, np.bool_)
            found = rows[:, :width]
            assert ((found >= 0) == ~hidden).all()
            assert all(len(set(some)) == len(some) for some in (one[one >= 0].tolist() for one in found))
            np.testing.assert_allclose(similarity[:, :width], at, atol=1e-5)
            again = np.einsum("bkd,bd->bk", catalogue.vectors[found], queries)
            np.testing.assert_allclose(similarity[:, :width], np.where(hidden, 0, again), atol=1e-5)
            as_near = np.abs(similarity[:, :width] - at) < 1e-6
            assert (hidden | (found == expected) | as_near).all()  # another item only where it is as near
            assert (rows[:, width:] == -1).all()
            assert (similarity[:, width:] == 0).all()


@pytest.mark.parametrize("k", [20, 60, 120])
def test_recall_over_clusters_as_towers_place_them_is_whole(k: int) -> None:
    random = np.random.default_rng(k)
    centres = np.repeat(random.normal(size=(200, 64)), 50, axis=0)
    vectors = unit(centres + 0.3 * random.normal(size=centres.shape))
    catalogue = CatalogueColumns()
    catalogue.apply(
        (item_key(f"i{at}"), CatalogueRow(f"i{at}", Item(title="t"), 1, 0, 7, vector.tobytes()))
        for at, vector in enumerate(vectors)
    )
    index = AnnIndex(catalogue)
    queries = unit(vectors[random.integers(0, len(vectors), 50)] + 0.1 * random.normal(size=(50, 64)))
    found, exact = index.search(queries, k)[0], index.search_exact(queries, k)[0]
    recall = np.mean(
        [len({*ours} & {*theirs}) / k for ours, theirs in zip(found.tolist(), exact.tolist(), strict=True)]
    )
    assert recall == 1.0
