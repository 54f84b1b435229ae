"""The re-ranker's features: the only code that computes them, for training and for serving.

One file a subject. Each declares its features (name, formula, range, what NaN means) above the function that computes
them; `registry` lists the files, and everything else follows from that list. `parts` lists blocks that only some
rankers have. `docs/features.md` is the list in words.
NaN says that a number does not exist: trees take it as it is.
"""

from rerank.features.block import Block, Columns, Feature, block
from rerank.features.inputs import Inputs
from rerank.features.parts import NO_PARTS, PARTS, Parts
from rerank.features.registry import BLOCKS, FEATURES, MEANING, SCHEMA_HASH, column, compute

__all__ = [
    "BLOCKS",
    "FEATURES",
    "MEANING",
    "NO_PARTS",
    "PARTS",
    "SCHEMA_HASH",
    "Block",
    "Columns",
    "Feature",
    "Inputs",
    "Parts",
    "block",
    "column",
    "compute",
]
