"""The recipe for a feature: one file is touched, and everything else follows."""

from __future__ import annotations

from pathlib import Path

from rerank.features import FEATURES, SCHEMA_HASH
from tests.extending.copies import Copy, code_of

PROGRAM = """
import numpy as np
from contracts.errors import ArtifactError
from nextclick.commands.demo import ARTIFACTS
from nextclick.show.features_table import features_table
from rerank.features import FEATURES, SCHEMA_HASH, column, compute
from rerank.ranker import Ranker
from tests.rerank.random_shops import random_inputs
print(len(FEATURES), SCHEMA_HASH)
for inputs in random_inputs(3):
    rows = compute(inputs.contexts, inputs.candidates, inputs.state)
    stock = inputs.catalogue.stock[inputs.candidates.rows]
    np.testing.assert_array_equal(column(rows, "item_stock"), np.log1p(stock).astype(np.float32))
print("| `item_stock` | log(1 + units in stock) |" in features_table())
try:
    Ranker.load(ARTIFACTS / "reranker")
except ArtifactError as error:
    print("refused")
"""


def test_a_feature_is_one_spot_in_one_file(tmp_path: Path) -> None:
    copy = Copy(tmp_path, "rerank")
    (recipe,) = code_of("A feature")
    copy.append("rerank/features/content.py", recipe)
    schema, documented, old = copy.run(PROGRAM).splitlines()
    names, digest = schema.split()
    assert int(names) == len(FEATURES) + 1
    assert digest != SCHEMA_HASH
    assert documented == "True"
    assert old == "refused"
