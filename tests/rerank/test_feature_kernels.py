"""Compiled feature blocks are held to their plain twins: random shops and windows, missing numbers, empty sources."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.features import BLOCKS, Columns, Inputs
from rerank.features.arrays import share_of_best
from tests.rerank.oracle_features import ORACLES
from tests.rerank.oracle_features import share_of_best as plain_share_of_best
from tests.rerank.random_shops import random_inputs

COMPILED = [one for one in BLOCKS if one.name in ORACLES]


def test_every_block_that_loops_has_a_twin() -> None:
    assert [one.name for one in COMPILED] == [
        "similarity",
        "popularity",
        "content",
        "window",
        "returns",
        "click_origins",
    ]


@pytest.mark.slow
@settings(max_examples=60)
@given(seed=st.integers(0, 100_000))
def test_a_compiled_block_equals_its_twin(seed: int) -> None:
    for inputs in random_inputs(seed):
        for one in COMPILED:
            found = np.full((len(one.features), len(inputs.candidates)), np.float32(-7777.25))
            wanted = found.copy()
            one.write(found, Inputs(inputs.contexts, inputs.candidates, inputs.state))
            with np.errstate(invalid="ignore"):
                ORACLES[one.name](Columns(one.places, wanted), inputs)
            for feature, ours, theirs in zip(one.features, found, wanted, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=2e-6, err_msg=feature.name)


@given(
    values=st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=20),
    cuts=st.lists(st.integers(0, 20), max_size=4),
)
def test_shares_of_the_best_equal_the_plain_ones(values: list[float], cuts: list[int]) -> None:
    array = np.array(values, np.float32)
    starts = np.array(sorted({0, len(values)} | {cut for cut in cuts if cut < len(values)}), np.intp)
    np.testing.assert_array_equal(share_of_best(array, starts), plain_share_of_best(array, starts))
