"""A user's profile in the search for candidates: before the first click alone, later beside the session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from contracts.api import Placement
from rerank.query import Query
from retrieval.contexts import Contexts

BLENDED: Final = frozenset({Placement.HOMEPAGE, Placement.EMAIL, Placement.PUSH})
"""Placements whose lists are of the visitor. On the others the page, the cart or the words of a search say what is
meant: there a profile counts only while nothing else is known.
"""


def with_tastes(contexts: Contexts, queries: Sequence[Query], worth: float) -> Contexts:
    """Blend each query's taste into its vector, in place. It weighs like `worth` clicks beside those of the session.

    A request without clicks and without a page's item has its user's taste for its vector. Returns the contexts, which
    know where that is only what the user said.
    """
    told = set[int]()
    for at, query in enumerate(queries):
        taste = query.taste
        if taste is None or len(taste) != contexts.queries.shape[1]:
            continue
        if not contexts.has_query[at]:
            if not contexts.lengths[at]:
                contexts.queries[at], contexts.has_query[at] = taste, True
                if not query.taste_is_learnt:
                    told.add(at)
        elif query.placement in BLENDED and worth:
            contexts.queries[at] = blended(contexts.queries[at], taste, int(contexts.lengths[at]), worth)
    return msgspec.structs.replace(contexts, told=frozenset(told)) if told else contexts


def blended(session: NDArray[np.float32], taste: NDArray[np.float32], clicks: int, worth: float) -> NDArray[np.float32]:
    """Return a session's unit vector (d,) with a share of the taste: worth / (worth + clicks)."""
    found = np.empty(len(session), np.float32)
    return found if _blend(session, taste, worth / (worth + clicks), found) else session


@kernel(reads("f4"), reads("f4"), "f8", writes("f4"))
def _blend(session: NDArray[np.float32], taste: NDArray[np.float32], share: float, found: NDArray[np.float32]) -> int:
    """Write the unit vector (d,) between two; returns 0 where they cancel out."""
    square = 0.0
    for k in range(len(found)):
        found[k] = (1 - share) * session[k] + share * taste[k]
        square += float(found[k]) * float(found[k])
    if square < 1e-12:
        return 0
    for k in range(len(found)):
        found[k] /= np.sqrt(square)
    return 1
