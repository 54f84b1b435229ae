"""Nearest items: exact and graph search, tombstones, replacement, rebuilding beside serving."""

from __future__ import annotations

import numpy as np
import pytest

from contracts.ids import ItemKey
from contracts.items import CatalogueRow, Item
from retrieval import exact_search
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns

AXES = np.eye(3, dtype=np.float32)


def change(key: int, vector: np.ndarray | None) -> tuple[ItemKey, CatalogueRow]:
    raw = b"" if vector is None else vector.astype("<f4").tobytes()
    return ItemKey(key), CatalogueRow(f"i{key}", Item(title="t"), 1, 0, 7 if raw else 0, raw)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def clustered(count: int, dim: int, seed: int) -> np.ndarray:
    """Items in clusters, as trained towers place them."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, count // 40), dim))
    return unit(centres[random.integers(0, len(centres), count)] + 0.5 * random.normal(size=(count, dim)))


def shop(vectors: np.ndarray, **options: int) -> tuple[CatalogueColumns, AnnIndex]:
    catalogue = CatalogueColumns()
    catalogue.apply(change(at, vector) for at, vector in enumerate(vectors))
    return catalogue, AnnIndex(catalogue, **options)


@pytest.fixture(params=["exact", "graph"])
def axes(request: pytest.FixtureRequest) -> tuple[CatalogueColumns, AnnIndex]:
    catalogue, index = shop(AXES, exact_up_to=100 if request.param == "exact" else 1)
    index.rebuild()
    assert index.is_exact == (request.param == "exact")
    return catalogue, index


def test_the_nearest_item_comes_first(axes: tuple[CatalogueColumns, AnnIndex]) -> None:
    _, index = axes
    rows, similarity = index.search(unit(np.array([[3.0, 2.0, 1.0], [0.0, 1.0, 2.0]])), 3)
    assert rows.tolist() == [[0, 1, 2], [2, 1, 0]]
    assert similarity[0].tolist() == pytest.approx([0.8018, 0.5345, 0.2673], abs=2e-3)


def test_asking_for_more_than_there_is_pads_with_minus_one(axes: tuple[CatalogueColumns, AnnIndex]) -> None:
    _, index = axes
    rows, similarity = index.search(AXES[:1], 5)
    assert sorted(rows[0, :3].tolist()) == [0, 1, 2]
    assert rows[0, 3:].tolist() == [-1, -1]
    assert similarity[0, 3:].tolist() == [0.0, 0.0]


def test_a_deleted_item_is_not_found_and_is_found_again_when_it_returns(
    axes: tuple[CatalogueColumns, AnnIndex],
) -> None:
    catalogue, index = axes
    index.apply(catalogue.apply([(ItemKey(0), None)]).reindex)
    assert len(index) == 2
    assert 0 not in index.search(AXES[:1], 3)[0]
    index.apply(catalogue.apply([change(0, AXES[0])]).reindex)
    assert len(index) == 3
    assert index.search(AXES[:1], 1)[0].tolist() == [[0]]


def test_a_new_vector_replaces_the_old_one(axes: tuple[CatalogueColumns, AnnIndex]) -> None:
    catalogue, index = axes
    index.apply(catalogue.apply([change(0, unit(np.array([0.0, 1.0, 0.1])))]).reindex)
    assert len(index) == 3
    rows, similarity = index.search(AXES[:1], 3)
    assert dict(zip(rows[0].tolist(), similarity[0].tolist(), strict=True))[0] == pytest.approx(0.0, abs=1e-3)


def test_an_item_that_loses_its_vector_is_not_found(axes: tuple[CatalogueColumns, AnnIndex]) -> None:
    catalogue, index = axes
    index.apply(catalogue.apply([change(0, None)]).reindex)
    assert sorted(index.search(AXES[:1], 2)[0][0].tolist()) == [1, 2]


def test_an_empty_index_finds_nothing() -> None:
    index = AnnIndex(CatalogueColumns(dim=3))
    rows, similarity = index.search(AXES, 2)
    assert rows.tolist() == [[-1, -1]] * 3
    assert similarity.tolist() == [[0.0, 0.0]] * 3


def test_queries_of_another_size_are_refused() -> None:
    _, index = shop(AXES)
    with pytest.raises(ValueError, match=r"expected queries of shape \(b, 3\), got \(1, 4\)"):
        index.search(np.ones((1, 4), np.float32), 1)


def test_exact_search_agrees_with_sorting_everything() -> None:
    vectors = clustered(500, 16, seed=1)
    _, index = shop(vectors)
    queries = clustered(7, 16, seed=2)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :20]
    assert index.search(queries, 20)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("at_once", [1, 3, 200, 500], ids="slices of {}".format)
def test_slices_change_nothing_that_exact_search_finds(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    vectors = clustered(500, 16, seed=1)
    queries = clustered(7, 16, seed=2)
    expected = np.argsort(-(queries @ vectors.T), axis=1)[:, :20]
    monkeypatch.setattr(exact_search, "_AT_ONCE", at_once)
    rows, similarity = exact_search.search_all(vectors, np.zeros(500, np.float32), queries, 20)
    assert rows.tolist() == expected.tolist()
    np.testing.assert_allclose(similarity, np.take_along_axis(queries @ vectors.T, expected, axis=1), atol=1e-6)


def test_the_graph_finds_nearly_what_exact_search_finds() -> None:
    vectors = clustered(4000, 32, seed=3)
    catalogue, index = shop(vectors, exact_up_to=1000)
    index.rebuild()
    gone = list(range(0, 400))
    index.apply(catalogue.apply((ItemKey(key), None) for key in gone).reindex)
    queries = clustered(50, 32, seed=4)
    found, _ = index.search(queries, 50)
    exact, _ = index.search_exact(queries, 50)
    recall = np.mean([len(set(f.tolist()) & set(e.tolist())) / 50 for f, e in zip(found, exact, strict=True)])
    assert recall >= 0.95
    assert found.min() >= 400


def test_a_graph_is_due_when_the_catalogue_outgrows_exact_search_or_tombstones_pile_up() -> None:
    catalogue, index = shop(clustered(300, 8, seed=5), exact_up_to=299)
    assert index.rebuild()
    assert not index.is_exact
    assert not index.rebuild()
    index.apply(catalogue.apply((ItemKey(key), None) for key in range(50)).reindex)
    assert index.plan_rebuild() is None
    index.apply(catalogue.apply((ItemKey(key), None) for key in range(50, 70)).reindex)
    assert index.rebuild()
    assert not index.rebuild()


def test_what_changes_while_a_graph_is_built_is_in_it_when_it_serves() -> None:
    catalogue, index = shop(np.concatenate([AXES, -AXES]), exact_up_to=1)
    plan = index.plan_rebuild()
    assert plan is not None
    assert index.plan_rebuild() is None
    index.apply(catalogue.apply([(ItemKey(0), None), change(6, unit(np.array([0.9, 0.1, 0.0])))]).reindex)
    index.adopt(plan.build())
    assert not index.is_exact
    assert index.search(AXES[:1], 1)[0].tolist() == [[6]]
