"""What every feature block keeps to: it writes what it declares, within the range that it declares, on its own."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import rerank.features
from rerank.features import BLOCKS, FEATURES, PARTS, Block, Columns, Feature, Inputs, block, column, compute
from rerank.features.block import FROM_ZERO
from rerank.features.registry import blocks_of
from tests.rerank.random_shops import random_inputs

SENTINEL = np.float32(-7777.25)
SHARED = {"arrays", "block", "calendar", "inputs"}
"""Modules that block files may import."""
FILES = sorted(
    path
    for path in Path(rerank.features.__file__).parent.glob("*.py")
    if path.stem not in SHARED | {"__init__", "parts", "registry"}
)


@cache
def shops() -> list[Inputs]:
    return [inputs for seed in range(40) for inputs in random_inputs(seed)]


def written(one: Block, inputs: Inputs) -> np.ndarray:
    """What a block writes on its own, (k, c), the sentinel where it writes nothing."""
    rows = np.full((len(one.features), len(inputs.candidates)), SENTINEL, np.float32)
    fresh = Inputs(inputs.contexts, inputs.candidates, inputs.state)
    with np.errstate(invalid="ignore"):
        one.write(rows, fresh)
    return rows


def unwritten(one: Block) -> set[str]:
    """The features that a block leaves out, of any candidate of any shop."""
    left = [(written(one, inputs) == SENTINEL).any(axis=1) for inputs in shops()]
    return {feature.name for feature, out in zip(one.features, np.any(left, axis=0), strict=True) if out}


@pytest.mark.parametrize("one", BLOCKS, ids=lambda one: one.name)
def test_a_block_writes_every_feature_that_it_declares(one: Block) -> None:
    assert unwritten(one) == set()


def test_a_feature_that_is_left_out_is_found() -> None:
    @block(Feature("one", "1", FROM_ZERO), Feature("two", "2", FROM_ZERO))
    def careless(out: Columns, inputs: Inputs) -> None:
        out["one"] = 1.0
        out.array[1, 1:] = 2.0

    assert unwritten(careless) == {"two"}


def test_a_feature_that_is_not_declared_cannot_be_written() -> None:
    @block(Feature("one", "1", FROM_ZERO), Feature("two", "2", FROM_ZERO))
    def mistaken(out: Columns, inputs: Inputs) -> None:
        out["three"] = 3.0

    with pytest.raises(KeyError, match=r"expected a declared feature \(one, two\), got 'three'"):
        written(mistaken, shops()[0])


@pytest.mark.parametrize("one", BLOCKS, ids=lambda one: one.name)
def test_a_block_computes_the_same_alone_and_among_the_others(one: Block) -> None:
    for inputs in shops():
        together = compute(inputs.contexts, inputs.candidates, inputs.state)
        alone = written(one, inputs)
        for feature, values in zip(one.features, alone, strict=True):
            np.testing.assert_array_equal(column(together, feature.name), values, feature.name)


@pytest.mark.parametrize("one", BLOCKS, ids=lambda one: one.name)
def test_values_stay_in_the_declared_range_and_are_nan_only_where_that_means_something(one: Block) -> None:
    values = np.concatenate([written(one, inputs) for inputs in shops()], axis=1)
    for feature, row in zip(one.features, values, strict=True):
        low, high = feature.range
        known = row[~np.isnan(row)]
        assert len(known) > 100, f"{feature.name}: hardly any random shop gives it a value; see random_shops.py"
        assert known.min() >= low - 1e-5, feature.name
        assert known.max() <= high + 1e-5, feature.name
        assert len(np.unique(known)) > 1, feature.name
        assert bool(feature.nan) == bool(np.isnan(row).any()), feature.name


@pytest.mark.parametrize("one", BLOCKS, ids=lambda one: one.name)
def test_every_declaration_says_what_the_feature_is(one: Block) -> None:
    assert one.about
    for feature in one.features:
        assert len(feature.meaning) > 10, feature.name
        assert "|" not in feature.meaning + feature.nan, feature.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_block_file_imports_no_other_block_file(path: Path) -> None:
    imported = {
        node.module.rpartition(".")[2]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rerank.")
    }
    assert imported <= SHARED


def test_every_block_file_is_listed() -> None:
    assert {path.stem for path in FILES} == {
        one.compute.__module__.rpartition(".")[2] for one in (*BLOCKS, *PARTS.values())
    }


def test_a_name_that_two_blocks_declare_is_refused() -> None:
    def stock(out: Columns, inputs: Inputs) -> None: ...

    def store(out: Columns, inputs: Inputs) -> None: ...

    file = ModuleType(__name__)
    for function in (stock, store):
        setattr(file, function.__name__, block(Feature("item_stock", "units in stock", FROM_ZERO))(function))
    with pytest.raises(ValueError, match="got 'item_stock' in the blocks stock and store: rename one of them"):
        blocks_of(file)


def test_a_block_that_a_file_only_imports_is_not_its_own() -> None:
    file = ModuleType("another")
    file.similarity = BLOCKS[0]  # type: ignore[attr-defined]
    assert blocks_of(file) == ()


def test_a_column_is_read_by_name_and_never_from_rows_of_other_features() -> None:
    rows = np.arange(2 * len(FEATURES), dtype=np.float32).reshape(2, -1)
    assert column(rows, "nearest_rank").tolist() == [1.0, len(FEATURES) + 1.0]
    assert column(rows[:, :2], "b", ("a", "b")).tolist() == [1.0, len(FEATURES) + 1.0]
    with pytest.raises(ValueError, match=r"expected 'prize' among \d+ names"):
        column(rows, "prize")
    with pytest.raises(ValueError, match=r"rows \(2, 2\): pass the names of the rows"):
        column(rows[:, :2], "nearest_rank")
