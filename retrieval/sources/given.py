"""The list that the caller brought: a request with one is ranked over it and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.key_rows import Rows
from retrieval.sources.source import NOTHING, Batch, Float32s, Mask, RankedEntries, Rung, Source, best_first


@dataclass(frozen=True, kw_only=True)
class Numbers:
    given_rank: Float32s
    """(c,) place in the caller's list, 0 first."""


def bring(batch: Batch, sizes: object) -> RankedEntries:
    catalogue = batch.state.catalogue
    parts = [
        best_first(catalogue, np.array([at], np.int32), _first_of_each(rows)[None])
        for at, rows in enumerate(batch.given)
        if rows is not None and catalogue.count
    ]
    if not parts:
        return NOTHING
    request, rows, rank = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("request", "rows", "rank")
    )
    return RankedEntries(request, rows, None, rank)


def _first_of_each(rows: Rows) -> Rows:
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]


def lay_out(found: RankedEntries, place: NDArray[np.intp], n: int) -> Numbers:
    return Numbers(given_rank=found.column(place, n))


def knows(numbers: Numbers) -> Mask:
    return numbers.given_rank >= 0


SOURCE = Source(
    name="given",
    brings="the list that the caller brought",
    settings=(),
    rung=Rung.TRENDING,
    numbers=Numbers,
    bring=bring,
    nothing=NOTHING,
    lay_out=lay_out,
    knows=knows,
)
