"""Base and delta searched as one: merged, hidden, and asked again where more may lie."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.graph import GraphOptions, add_rows, empty_graph
from retrieval.layers import Layer, search_layers

DIM = 32
OPTIONS = GraphOptions()


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def layer(vectors: np.ndarray, rows: np.ndarray, width: int = 64) -> Layer:
    graph = empty_graph(DIM, OPTIONS)
    add_rows(graph, rows.astype(np.int32), vectors[rows])
    made = Layer(graph, width, np.zeros(len(vectors), np.bool_))
    made.set_width(len(vectors))
    return made


@pytest.fixture
def vectors() -> np.ndarray:
    return unit(np.random.default_rng(1).standard_normal((2000, DIM)))


def test_what_two_layers_find_is_what_one_would(vectors: np.ndarray) -> None:
    layers = [layer(vectors, np.arange(1800)), layer(vectors, np.arange(1800, 2000))]
    query = vectors[1999]
    rows, similarity, certain = search_layers(layers, vectors, query, 20, searchable=2000)
    expected = np.argsort(-(vectors @ query))[:20]
    assert certain
    assert rows[0] == 1999
    assert len(set(rows.tolist()) & set(expected.tolist())) >= 19
    assert similarity.tolist() == (vectors[rows] @ query).tolist()


def test_a_small_layer_that_holds_everything_near_is_asked_for_more(vectors: np.ndarray) -> None:
    near = unit(vectors[:1] + 0.1 * np.random.default_rng(2).standard_normal((150, DIM)))
    both = np.concatenate([vectors, near])
    layers = [layer(both, np.arange(2000)), layer(both, np.arange(2000, 2150))]
    assert layers[1].first_depth(100, 2150) < 40
    rows, _, certain = search_layers(layers, both, near[0], 100, searchable=2150)
    assert certain
    assert sum(row >= 2000 or row == 0 for row in rows.tolist()) == 100


def test_a_hidden_row_is_not_found_and_counts_once(vectors: np.ndarray) -> None:
    one = layer(vectors, np.arange(2000))
    rows = np.array([5, 6], np.int32)
    one.hide(rows, np.array([True, True]))
    one.hide(rows, np.array([False, False]))
    assert one.hiding == 2
    found, _, _ = search_layers([one], vectors, vectors[5], 10, searchable=1998)
    assert not {5, 6} & set(found.tolist())


def test_what_the_deepest_search_does_not_settle_is_not_certain() -> None:
    vectors = unit(np.random.default_rng(3).standard_normal((4500, DIM)))
    one = layer(vectors, np.arange(4500))
    rows, _, certain = search_layers(
        [one], vectors, vectors[0], 5, searchable=4500, keep=lambda some: np.zeros(len(some), np.bool_)
    )
    assert (len(rows), certain) == (0, False)


def test_a_small_layer_is_searched_with_a_third_of_the_width(vectors: np.ndarray) -> None:
    small = layer(vectors, np.arange(100), width=150)
    assert small.graph.expansion_search == 50
    small.set_width(150)
    assert small.graph.expansion_search == 150
