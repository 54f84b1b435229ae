"""Diversity against a plain evaluator that compares each candidate with everything that was chosen."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.scenarios.choose import Wanted, choose


def plainly(values: list[float], alike: list[list[float]], limit: int, diversity: float) -> list[int]:
    """Maximal marginal relevance, the first of equals first."""
    chosen: list[int] = []
    while len(chosen) < min(limit, len(values)):
        left = [at for at in range(len(values)) if at not in chosen]
        nearest = {at: max([0.0, *(alike[at][other] for other in chosen)]) for at in left}
        chosen.append(max(left, key=lambda at: ((1 - diversity) * values[at] - diversity * nearest[at], -at)))
    return chosen


@settings(max_examples=150)
@given(st.integers(1, 40), st.integers(1, 12), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(0, 2**32 - 1))
def test_a_page_is_what_comparing_each_with_each_says(n: int, limit: int, diversity: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.integers(-1, 2, (n, 4)).astype(np.float32)  # many alike, products in full
    values = np.sort(random.integers(1, 9, n))[::-1] / 8.0
    none = np.zeros((0, n))
    wanted = Wanted(
        limit,
        diversity,
        none.astype(np.int32),
        np.zeros(0, np.int64),
        none.astype(np.bool_),
        np.zeros(0),
        np.ones((limit, 2)),
        0.0,
    )
    rows, has_vector = np.arange(n, dtype=np.int32), np.ones(n, np.bool_)
    chosen, held = choose(values, rows, vectors, has_vector, wanted)
    scaled, alike = (values / values[0]).tolist(), (vectors @ vectors.T).astype(np.float64).tolist()
    assert (chosen.tolist(), held.tolist()) == (plainly(scaled, alike, limit, diversity), [])
