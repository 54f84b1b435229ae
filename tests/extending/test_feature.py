"""The recipes of a feature, done on a copy: from loaded columns, a new co-visitation number, a new trend count."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import nextclick
from contracts.errors import ArtifactError
from flows.trend_recovery import state_version
from rerank.features import FEATURES, SCHEMA_HASH
from rerank.ranker import Ranker
from tests.extending.scratch import Scratch, blocks

RECIPES = {
    "A feature": ("item_stock", ["rerank/features/content.py"]),
    "A feature from a new co-visitation number": (
        "before_last",
        ["retrieval/sources/covisitation.py", "rerank/features/covisitation.py"],
    ),
    "A feature from a new trend count": (
        "item_carts",
        ["contracts/codec.py", "contracts/formats.py", "retrieval/trends.py", "rerank/features/popularity.py"],
    ),
}
SHOP_RANKER = Path(nextclick.__file__).parent / "shop_artifacts" / "reranker"
SCHEMA = """
from nextclick.show.features_table import features_table
from rerank.features import FEATURES, SCHEMA_HASH

print(SCHEMA_HASH, *FEATURES)
print(features_table())
"""
TRAIN = """
import sys
from pathlib import Path
from contracts.errors import ArtifactError
from learning.training import RerankTrainingSettings, train_reranker
from rerank.ranker import Ranker
from tests.rerank.traffic import traffic

settings = RerankTrainingSettings(groups=200, refresh_events=20, warm_up=0.3, check_share=0.3, trees=5)
train_reranker(traffic(150), None, Path("none"), Path("ranker"), settings, seed=1)
Ranker.load(Path("ranker"))
try:
    Ranker.load(Path(sys.argv[1]))
except ArtifactError as error:
    print(error)
"""
VALUES = """
import math
import numpy as np
from contracts.codec import ItemTrend, decode_trend
from contracts.events import EventCode
from contracts.ids import item_key
from rerank.features import column, compute
from rerank.query import Query
from rerank.session_vector import contexts_of
from retrieval.candidates import gather
from retrieval.sources import SourceSettings
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import CountedClick, TrendRules
from tests.rerank.shop import NOW, Shop, item, session

shop = Shop(per_category=2)

def values(name, *item_ids):
    contexts = contexts_of([Query(NOW, session=session("books-0"))], shop.catalogue, None)
    candidates = gather(contexts, shop.state, SourceSettings())
    told = dict(zip(candidates.rows.tolist(), column(compute(contexts, candidates, shop.state), name).tolist()))
    rows = shop.catalogue.rows_of(np.array(list(map(item_key, item_ids)), np.uint64))
    print(*(round(told[row], 3) for row in rows.tolist()))
"""
STOCK = 'shop.put(item("lamps-0", stock=0), item("lamps-1", stock=99))\nvalues("item_stock", "lamps-0", "lamps-1")'
BEFORE = """
neighbours, weights = np.array([item_key("lamps-0")], np.uint64), np.array([[4.0, 2.0, 0.0]], np.float32)
shop.trends.apply([(item_key("books-0"), ItemTrend(NOW, 10.0, 0.0, 10.0, neighbours, weights))])
values("before_last", "lamps-0", "lamps-1")
"""
CARTS = """
codes = (EventCode.VIEW, EventCode.CART, EventCode.CART)
counted = TrendCounts(TrendRules())
counted.apply(updates_of([CountedClick(NOW - 12 * 3_600_000, item_key("lamps-0"), "lamps-0", code) for code in codes]))
[row] = counted.changed_rows(NOW - 6 * 3_600_000).encoded()
shop.trends.apply([(item_key("lamps-0"), decode_trend(row))])
values("item_carts", "lamps-0", "lamps-1")
from flows.trend_recovery import state_version
print(state_version())
"""


@pytest.mark.parametrize("section", RECIPES)
def test_a_feature_is_in_the_schema_the_docs_and_a_trained_ranker(section: str, tmp_path: Path) -> None:
    name, files = RECIPES[section]
    scratch = Scratch(tmp_path)
    assert scratch.follow(section) == files
    schema, page = scratch.says(SCHEMA).split("\n", 1)
    digest, *names = schema.split()
    assert set(names) - set(FEATURES) == {name}
    assert len(names) == len(FEATURES) + 1
    assert digest != SCHEMA_HASH
    assert f"| `{name}` |" in page

    trained = scratch.run("-c", TRAIN, str(SHOP_RANKER))
    assert trained.returncode == 0, trained.stderr
    assert f"expected a ranker of feature schema {digest}, got {SCHEMA_HASH}" in trained.stdout
    assert orjson.loads((scratch.folder / "ranker" / "manifest.json").read_bytes())["features"] == names
    with pytest.raises(ArtifactError, match=f"expected a ranker of feature schema {SCHEMA_HASH}, got {digest}"):
        Ranker.load(scratch.folder / "ranker")


@pytest.mark.slow
@pytest.mark.parametrize("section", RECIPES)
def test_a_new_block_keeps_to_what_every_block_keeps_to(section: str, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.follow(section)
    checked = scratch.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/rerank/test_feature_blocks.py")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("section", "code", "told"),
    [
        ("A feature", STOCK, "0.0 4.605\n"),
        ("A feature from a new co-visitation number", BEFORE, "0.2 nan\n"),
        ("A feature from a new trend count", CARTS, "0.693 0.0\n"),
    ],
    ids=["loaded columns", "co-visitation number", "trend count"],
)
def test_a_feature_has_the_values_that_its_recipe_says(section: str, code: str, told: str, tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.follow(section)
    found = scratch.says(VALUES + code)
    assert found.startswith(told)
    assert state_version() not in found  # a store of other counts is put aside


@pytest.mark.slow
def test_a_feature_as_a_kernel_has_the_values_of_its_array_version(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    scratch.follow("A feature")
    assert scratch.follow("A feature as a kernel") == ["rerank/features/content.py"]
    prepared = "from compiled.kernels import _declared\nprint(*(one.name for one in _declared))\n"
    told, names = scratch.says(VALUES + STOCK + "\n" + prepared).splitlines()
    assert told == "0.0 4.605"
    assert "rerank.features.content._stock" in names.split()


def test_a_feature_from_loaded_columns_is_one_spot() -> None:
    [diff] = blocks("A feature", "diff")
    assert diff.count("@@\n") == 1


def test_the_trained_shop_ranker_loads() -> None:
    assert len(Ranker.load(SHOP_RANKER).version) == 16
