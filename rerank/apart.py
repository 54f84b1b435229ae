"""Several lists of one page, laid out one after the other: no item stands in two of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from rerank.pages import Decided, Filling, Page, Pages, Wanted, joined, lay_out
from rerank.rules import KEPT, Proposed, Rule

Float32s = NDArray[np.float32]


def lay_out_apart(
    proposed: Proposed,
    order: NDArray[np.intp],
    scores: Float32s,
    wanted: Wanted,
    filling: Filling,
    rules: Sequence[Rule],
    decided: Decided | None,
) -> tuple[Pages, NDArray[np.int8]]:
    """Return what `lay_out` returns, with what earlier lists show excluded from later ones."""
    by = np.full(len(proposed.rows), KEPT, np.int8)
    pages: list[Page] = []
    used: list[int] = []
    for at, limit in enumerate(wanted.limits.tolist()):
        begin, end = np.searchsorted(proposed.request, [at, at + 1])
        alone = msgspec.structs.replace(wanted, limits=np.zeros_like(wanted.limits))
        alone.limits[at] = limit
        own = _without(proposed, at, used)
        found, dropped = lay_out(own, order[begin:end], scores, alone, filling, rules, _only(decided, at))
        by[begin:end] = dropped[begin:end]
        page = found.page(at)
        pages.append(page)
        used += page.rows.tolist()
    return joined(pages), by


def _without(proposed: Proposed, at: int, used: Sequence[int]) -> Proposed:
    visitors = proposed.visitors
    codes = at * proposed.catalogue.count + np.array(used, np.int64)
    excluded = np.sort(np.concatenate([visitors.excluded, codes]))
    return msgspec.structs.replace(proposed, visitors=msgspec.structs.replace(visitors, excluded=excluded))


def _only(decided: Decided | None, at: int) -> Decided | None:
    if decided is None:
        return None
    return Decided(decided.drop, {at: decided.arrange[at]} if at in decided.arrange else {})
