"""The list of feature blocks, and what follows from it: FEATURES, each block's columns, and SCHEMA_HASH."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from types import ModuleType
from typing import Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from rerank.features import (
    click_origins,
    content,
    covisitation,
    covisitation_cosines,
    ended_sessions,
    popularity,
    returns,
    similarity,
    window,
)
from rerank.features.block import Block
from rerank.features.inputs import Inputs
from rerank.features.parts import NO_PARTS, Parts
from retrieval.candidates import Candidates, Contexts
from retrieval.serving_state import ServingState

Float32s = NDArray[np.float32]


def blocks_of(*files: ModuleType) -> tuple[Block, ...]:
    """Return the blocks that the files declare, in the order in which they stand there.

    Raises ValueError for a feature that is declared twice.
    """
    blocks = tuple(
        value
        for file in files
        for value in vars(file).values()
        if isinstance(value, Block) and value.compute.__module__ == file.__name__
    )
    owner: dict[str, str] = {}
    for one in blocks:
        for feature in one.features:
            if feature.name in owner:
                raise ValueError(
                    f"expected every feature once, got {feature.name!r} in the blocks {owner[feature.name]} and "
                    f"{one.name}: rename one of them"
                )
            owner[feature.name] = one.name
    return blocks


BLOCKS: Final = blocks_of(
    similarity,
    covisitation,
    popularity,
    content,
    window,
    returns,
    covisitation_cosines,
    ended_sessions,
    click_origins,
)
"""Every block, in the order of their columns. Another order is another schema: older rankers are refused."""
FEATURES: Final = tuple(feature.name for block in BLOCKS for feature in block.features)
"""The names of the features, in the order of their columns."""
MEANING: Final = 2
"""Raise it when a feature means something else under the same name, so that older rankers are refused."""
SCHEMA_HASH: Final = xxhash.xxh3_64_hexdigest("\n".join((str(MEANING), *FEATURES)).encode())
"""Names the features, their order and their meaning: 16 hex digits, in every ranker's manifest."""

_STARTS: Final = tuple(accumulate((len(block.features) for block in BLOCKS), initial=0))
_COLUMNS: Final = tuple(slice(begin, end) for begin, end in pairwise(_STARTS))
"""The columns of each block."""


def compute(contexts: Contexts, candidates: Candidates, state: ServingState, parts: Parts = NO_PARTS) -> Float32s:
    """Return the features of every candidate, (c, f) float32: in the order of FEATURES, then those of `parts`."""
    columns = np.empty((len(FEATURES) + len(parts.features), len(candidates)), np.float32)
    if len(candidates):
        inputs = Inputs(contexts, candidates, state, parts.calendar)
        with np.errstate(invalid="ignore"):
            for block, mine in zip(BLOCKS, _COLUMNS, strict=True):
                block.write(columns[mine], inputs)
            begin = len(FEATURES)
            for block in parts.blocks:
                block.write(columns[begin : begin + len(block.features)], inputs)
                begin += len(block.features)
    return columns.T


def column(rows: Float32s, name: str, names: Sequence[str] = FEATURES) -> Float32s:
    """Return one feature of feature rows (c, f), (c,). `names` (f,) are what the rows hold.

    Raises ValueError for a name that is not among them, and for rows of another width.
    """
    if name not in names or rows.shape[1] != len(names):
        raise ValueError(f"expected {name!r} among {len(names)} names of rows {rows.shape}: pass the names of the rows")
    return rows[:, names.index(name)]
