"""What the re-ranker learns from: groups as XGBoost wants them, drawn negatives, and figures that count misses."""

from __future__ import annotations

import numpy as np
import pytest

from learning.groups import Groups, RankingMetrics, rank_of
from learning.replay import RankingGroup
from rerank.features import FEATURES


def group(candidates: int, target: int, *, new: bool = False) -> RankingGroup:
    """Candidates that are told apart by their first feature; retrieval liked the later ones more."""
    rows = np.zeros((candidates, len(FEATURES)), np.float32)
    rows[:, 0] = np.arange(candidates)
    return RankingGroup(7, 11, rows, target, np.arange(candidates, dtype=np.float32), new)


def test_a_group_keeps_the_clicked_candidate_and_as_many_others_as_were_asked_for() -> None:
    groups = Groups()
    groups.add(group(50, 42), np.random.default_rng(1), negatives=5)
    assert (groups.sizes, groups.targets, groups.candidates) == ([6], [0], 50)
    kept = groups.rows[0][:, 0].tolist()
    assert kept[0] == 42
    assert len(set(kept)) == 6
    assert groups.retrieval_ranks == [8]  # among all fifty


def test_a_click_that_no_source_brought_is_counted_and_not_learnt_from() -> None:
    groups = Groups()
    groups.add(group(3, -1), None)
    groups.add(group(3, 1), None)
    assert (groups.asked, groups.missed, groups.sizes) == (2, 1, [3])
    assert groups.metrics([1]) == RankingMetrics(hit_rate=0.5, mrr=0.5, ndcg=0.5)
    assert groups.metrics([21]) == RankingMetrics(0.0, 0.0, 0.0)


def test_the_matrix_labels_what_was_clicked_and_weighs_clicks_on_new_items() -> None:
    groups = Groups()
    groups.add(group(2, 1), None)
    groups.add(group(3, 0, new=True), None)
    matrix = groups.matrix(threads=1, new_weight=5.0)
    assert matrix.get_label().tolist() == [0, 1, 1, 0, 0]
    assert matrix.get_uint_info("group_ptr").tolist() == [0, 2, 5]
    assert matrix.get_weight().tolist() == [1, 5]


@pytest.mark.parametrize(("scores", "target", "rank"), [([3, 2, 1], 0, 1), ([3, 2, 1], 2, 3), ([2, 2, 1], 0, 2)])
def test_ties_count_against_the_clicked_item(scores: list[float], target: int, rank: int) -> None:
    assert rank_of(np.array(scores, np.float32), target) == rank
