from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.metrics import (
    NextItemTally,
    coverage,
    hit_rate,
    mrr,
    ndcg,
    rank_in,
    ranks_of_targets,
    wilson_interval,
)


def test_rank_is_the_place_in_the_list_counted_from_one() -> None:
    assert rank_in("b", ["a", "b", "c"]) == 2
    assert rank_in("z", ["a", "b", "c"]) is None


def test_ties_count_against_the_target() -> None:
    scores = [[0.5, 0.5, 0.1], [0.9, 0.5, 0.1], [0.0, 0.0, 0.0]]
    assert ranks_of_targets(scores, [0, 0, 1]).tolist() == [2, 1, 3]


def test_a_nan_ranks_behind_everything() -> None:
    assert ranks_of_targets([[np.nan, 0.1, 0.2]], [0]).tolist() == [3]
    assert ranks_of_targets([[np.nan, 0.1, 0.2]], [1]).tolist() == [2]


def test_hit_rate_counts_ranks_within_k_and_misses_as_zero() -> None:
    assert hit_rate([1, 20, 21, 0], 20) == 0.5
    assert hit_rate([], 20) == 0.0


def test_mrr_is_the_mean_of_reciprocal_ranks_within_k() -> None:
    assert mrr([1, 2, 4, 30], 20) == pytest.approx((1 + 0.5 + 0.25) / 4)


def test_ndcg_discounts_by_the_logarithm_of_the_rank() -> None:
    assert ndcg([1, 3, 0], 10) == pytest.approx((1 + 0.5) / 3)


def test_coverage_is_the_share_of_the_catalogue_that_was_shown() -> None:
    assert coverage([["a", "b"], ["b", "c"]], 4) == 0.75
    with pytest.raises(ValueError, match="at least one item"):
        coverage([["a"]], 0)


def test_wilson_interval_is_wide_for_few_cases_and_narrow_for_many() -> None:
    assert wilson_interval(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson_interval(500, 1000) == pytest.approx((0.4691, 0.5309), abs=1e-4)
    assert wilson_interval(0, 0) == (0.0, 1.0)


def test_a_tally_counts_every_depth() -> None:
    tally = NextItemTally(ks=(1, 20))
    for rank in (1, 2, None, 0, 21):
        tally.add(rank)
    assert tally.cases == 5
    assert (tally.hit_rate(1), tally.hit_rate(20)) == (0.2, 0.4)
    assert tally.mrr(20) == pytest.approx(0.3)
    assert tally.summary()["hit_rate@20"] == 0.4


def test_tallies_of_other_depths_do_not_merge() -> None:
    with pytest.raises(ValueError, match=r"expected a tally at \(10, 20\), got one at \(5,\)"):
        NextItemTally().merge(NextItemTally(ks=(5,)))


RANKS = st.lists(st.integers(min_value=0, max_value=60))


@given(RANKS, RANKS)
def test_merged_tallies_equal_the_array_functions_on_all_ranks(left: list[int], right: list[int]) -> None:
    tally, other = NextItemTally(), NextItemTally()
    for rank in left:
        tally.add(rank)
    for rank in right:
        other.add(rank)
    tally.merge(other)
    for k in (10, 20):
        assert tally.hit_rate(k) == pytest.approx(hit_rate(left + right, k))
        assert tally.mrr(k) == pytest.approx(mrr(left + right, k))
        assert tally.ndcg(k) == pytest.approx(ndcg(left + right, k))
