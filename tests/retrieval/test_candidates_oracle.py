"""Candidates of random requests over random shops are those of the plain twin, with the same numbers."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given as each
from hypothesis import settings
from hypothesis import strategies as st

from rerank.query import Query
from rerank.session_vector import contexts_of
from retrieval.ann_index import Filter
from retrieval.candidates import Candidates, gather, unite
from retrieval.sources import SOURCES, Rung, SourceSettings
from retrieval.sources.source import Found
from tests.rerank.random_shops import random_shop, random_visitor
from tests.rerank.shop import NOW, encoder
from tests.retrieval.oracle_candidates import gathered


@settings(max_examples=60)
@each(st.integers(0, 2**32 - 1))
def test_candidates_are_those_of_the_plain_twin(seed: int) -> None:
    random = np.random.default_rng(seed)
    state, item_ids, with_vectors = random_shop(random)
    catalogue = state.catalogue
    gone = [catalogue.keys[row] for row in random.integers(0, catalogue.count, 3)]
    state.index.apply(catalogue.apply((int(key), None) for key in gone).reindex)  # type: ignore[misc]
    for _ in range(4):
        b = int(random.choice([1, 2, 8]))
        queries = [
            Query(NOW + int(random.integers(0, 10**6)), session=random_visitor(random, item_ids)) for _ in range(b)
        ]
        contexts = contexts_of(queries, catalogue, encoder() if with_vectors else None)
        names = list(SourceSettings.model_fields)
        sizes = SourceSettings(**dict(zip(names, random.choice([0, 1, 3, 20], len(names)).tolist(), strict=True)))
        given = [
            random.integers(-1, catalogue.count, 7).astype(np.int32) if random.random() < 0.2 else None
            for _ in range(b)
        ]
        filters = [
            Filter(*(random.choice([None, one]) for one in ("a", "DE")), in_stock=bool(random.random() < 0.5))
            if random.random() < 0.5
            else None
            for _ in range(b)
        ]
        shows_seen, rung = random.random(b) < 0.5, Rung(int(random.integers(0, 4)))
        longest = int(random.choice([0, 5]))

        found = gather(contexts, state, sizes, given, filters, shows_seen, rung=rung, longest=longest)

        expected = gathered(contexts, state, sizes, given, filters, shows_seen, rung, longest)
        assert set(expected) == {field.name for field in fields(Candidates)}
        for name, column in expected.items():
            np.testing.assert_allclose(getattr(found, name), column, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize(("request_of", "row"), [(2, 0), (-1, 0), (0, 10), (0, -1)])
def test_a_source_that_names_what_there_is_not_is_refused(request_of: int, row: int) -> None:
    wrong = Found(np.array([0, request_of]), np.array([1, row]), None)
    found = [wrong, *(source.nothing for source in SOURCES[1:])]
    with pytest.raises(IndexError, match="expected entries of 2 requests and 10 rows, got others"):
        unite(found, np.zeros(2, np.bool_), 10)
