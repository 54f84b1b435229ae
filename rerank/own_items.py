"""A user's own items on arrival: what their profile says they looked at and did not buy, decayed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from contracts.events import INTEREST
from rerank.affinities import Learnt, worth_of
from rerank.feedback import bought_in
from rerank.query import Query
from retrieval.contexts import Contexts
from retrieval.key_rows import Keys

MOST: Final = 200
"""Items of a profile that are looked at."""
_INTEREST: Final = np.array(sorted(INTEREST), np.uint8)
_NO_ITEMS: Final = np.zeros(0, np.uint64)


def with_own(contexts: Contexts, queries: Sequence[Query]) -> Contexts:
    """Return the contexts with the own items of users of whose visit nothing is known: no click, no page's item, and
    no list that is only to be ranked.
    """
    own: list[Keys] = []
    for query, length in zip(queries, contexts.lengths.tolist(), strict=True):
        asks = query.learnt is not None and not length and query.candidates is None
        own.append(_share_of(query) if asks else _NO_ITEMS)
    widest = max(map(len, own))
    if not widest:
        return contexts
    keys = np.zeros((len(own), widest), np.uint64)
    for at, one in enumerate(own):
        keys[at, : len(one)] = one
    return msgspec.structs.replace(contexts, own=keys)


def _share_of(query: Query) -> Keys:
    """Return the own items that may stand on a page: half of it, as it is to show something new as well."""
    assert query.learnt is not None
    return own_items(query.learnt, query.now_ms)[: max(1, query.limit // 2)]


def own_items(learnt: Learnt, now_ms: int) -> Keys:
    """Return the ItemKeys (k,) of a profile that showed interest and were not bought, what counts most first: clicks by
    type and age, as all that is learnt of a user.
    """
    clicks = learnt.profile.clicks
    wanted = np.isin(clicks["code"], _INTEREST) & ~np.isin(clicks["item"], bought_in(clicks))
    items, place = np.unique(clicks["item"][wanted], return_inverse=True)
    sums = np.bincount(place, worth_of(learnt, now_ms)[wanted], len(items))
    order = np.argsort(-sums, kind="stable")[:MOST]
    return np.asarray(items[order[sums[order] > 0]], np.uint64)
