"""What lists are worth beside the pipeline's, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from learning.users.catalogue_side import ItemSide
from learning.users.judge import Bench, recall
from learning.users.visits import moments_between, read_visits
from tests.learning.users.visitors import GAP_MS, visits_of

VISITS = read_visits(visits_of(("s1", "u", "abc", 0), ("s2", "u", "acc", 1)), GAP_MS)
SIDE = ItemSide(np.array([4, 2, 2]), np.array([[0, 1, 1], [0, 0, 0], [0, 1, 2]]), np.array([-1, -1, -1]))
BENCH = Bench.of(VISITS, moments_between(VISITS, 0, 2**62), SIDE, np.eye(3, dtype=np.float32), 1)


def test_the_rest_of_a_visit_is_wanted_each_item_once() -> None:
    assert BENCH.moments.targets.tolist() == [0, 2]
    assert BENCH.wanted.tolist() == [[0, 2, -1], [2, -1, -1]]


def test_gains_are_of_the_next_click_and_map_of_the_rest_of_the_visit() -> None:
    hit, mrr, precision, ndcg = BENCH.gains(np.array([[1, 0, 2], [0, 1, -1]], np.int32))
    assert hit.tolist() == [1.0, 0.0]
    assert mrr.tolist() == [0.5, 0.0]
    assert precision.tolist() == [pytest.approx((1 / 2 + 2 / 3) / 2), 0.0]
    assert ndcg.tolist() == [pytest.approx(1 / np.log2(3)), 0.0]


def test_a_list_is_judged_by_its_difference_to_the_pipeline_s() -> None:
    alone, better = np.array([[1], [0]], np.int32), np.array([[0], [2]], np.int32)
    judged = BENCH.judge("own", better, alone, 1.0)
    assert judged.gains["hit_rate"] == (1.0, 1.0, 1.0)
    assert judged.differences["mrr"] == (1.0, 1.0, 1.0)
    assert judged.pays
    assert not BENCH.judge("own", alone, alone, 0.0).pays
    assert judged.coverage == pytest.approx(2 / 3)
    assert judged.novelty == pytest.approx((1 + 2) / 2)
    assert judged.gini["price band"] == pytest.approx(1 / 3)
    assert np.isnan(judged.gini["supplier"])


def test_recall_is_of_all_that_a_list_holds() -> None:
    assert recall(np.array([[1, 0], [0, 1]], np.int32), np.array([0, 2], np.int32)) == 0.5
