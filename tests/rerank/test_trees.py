"""Trees laid out for the compiled loop score as XGBoost does, to the last bit; what has no layout stays XGBoost's."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.ranker import Ranker
from rerank.trees import Trees, trees_of
from rerank.ubj import decode

FEATURES = 9


def grown(seed: int, trees: int = 20, **params: Any) -> xgb.Booster:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(400, FEATURES)).astype(np.float32)
    rows[random.random(rows.shape) < 0.2] = np.nan
    wanted = (np.nan_to_num(rows[:, :4]).sum(axis=1) + random.normal(size=400) > 0.5).astype(np.float32)
    matrix = xgb.DMatrix(rows, wanted)
    if params.get("objective", "").startswith("rank:"):
        matrix.set_group([20] * 20)
    return xgb.train({"max_depth": 6, "nthread": 1, "verbosity": 0, **params}, matrix, trees)


def asked(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(count, FEATURES)).astype(np.float32)
    odd = random.random(rows.shape)
    rows[odd < 0.2] = np.nan
    rows[odd > 0.98] = np.inf
    rows[(odd > 0.96) & (odd < 0.97)] = -np.inf
    return rows


def written(booster: xgb.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


def laid_out(booster: xgb.Booster) -> Trees:
    found = trees_of(written(booster))
    assert found is not None
    return found


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 1000),
    count=st.sampled_from([1, 5, 63, 64, 65, 200]),
    depth=st.integers(1, 10),
    objective=st.sampled_from(["rank:ndcg", "rank:pairwise", "binary:logistic", "reg:squarederror"]),
    base=st.sampled_from([None, 0.5, 0.3, 0.07, 0.9]),
)
def test_scores_are_xgboosts_to_the_bit(seed: int, count: int, depth: int, objective: str, base: float | None) -> None:
    more = {} if base is None else {"base_score": base}
    booster = grown(seed, max_depth=depth, objective=objective, **more)
    rows = asked(seed + 1, count)
    wanted = booster.inplace_predict(rows, predict_type="margin")
    np.testing.assert_array_equal(laid_out(booster).scores(np.ascontiguousarray(rows.T)), wanted)


def test_a_value_that_equals_a_threshold_goes_right_as_in_xgboost() -> None:
    rows = np.repeat(np.arange(4, dtype=np.float32), 10)[:, None]
    booster = xgb.train(
        {"max_depth": 2, "nthread": 1, "base_score": 0, "min_child_weight": 0},
        xgb.DMatrix(rows, rows[:, 0] >= 2),
        1,
    )
    asked = np.array([[1.5, 2.0, np.nextafter(np.float32(2), np.float32(0))]], np.float32)
    wanted = booster.inplace_predict(asked.T, predict_type="margin")
    np.testing.assert_array_equal(laid_out(booster).scores(asked), wanted)


@pytest.mark.parametrize(
    "params",
    [
        {"booster": "dart", "rate_drop": 0.5},
        {"max_depth": 12, "min_child_weight": 0, "reg_lambda": 0, "learning_rate": 1},
        {"objective": "count:poisson"},
    ],
    ids=["dart", "too deep", "an objective that is not known"],
)
def test_what_has_no_layout_is_scored_by_xgboost(params: dict[str, Any]) -> None:
    booster = grown(3, **params)
    rows = asked(4, 30)
    assert trees_of(written(booster)) is None
    wanted = booster.inplace_predict(rows, predict_type="margin")
    assert Ranker(booster, model_version=0).rank_scores(rows).tolist() == wanted.tolist()
    assert Ranker(written(booster), model_version=0).rank_scores(rows).tolist() == wanted.tolist()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), depth=st.integers(1, 6), count=st.integers(1, 5))
def test_what_xgboost_writes_in_binary_is_read_as_what_it_writes_in_json(seed: int, depth: int, count: int) -> None:
    booster = grown(seed, count, max_depth=depth)
    assert plain(decode(written(booster))) == plain(orjson.loads(bytes(booster.save_raw("json"))))


def plain(found: Any) -> Any:
    """Numbers as the float32 that they are: JSON writes the shortest one that reads the same."""
    if isinstance(found, dict):
        return {key: plain(one) for key, one in found.items()}
    if isinstance(found, list | np.ndarray):
        return [plain(one) for one in found]
    return found if isinstance(found, str) else float(np.float32(found))


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"{L\0", b"{L" + bytes(7) + b"\1aS", b"[$d#L" + bytes(7) + b"\7abc", b"x", b"{}{}", b"[" * 5000],
)
def test_what_is_no_model_is_told(raw: bytes) -> None:
    with pytest.raises(ValueError, match="expected a model in UBJSON"):
        decode(raw)
    assert trees_of(raw) is None


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected columns of 9 features, got shape \(8, 2\)"):
        laid_out(grown(1)).scores(np.zeros((8, 2), np.float32))
