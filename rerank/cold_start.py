"""The ladder of what an answer goes by: the first thing that is known of a visitor, down to nothing at all."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from contracts.api import ColdStart
from rerank.query import Query
from retrieval.candidates import Candidates, Contexts
from retrieval.popular import PopularLists


def with_groups(contexts: Contexts, queries: Sequence[Query], lists: PopularLists) -> Contexts:
    """Return contexts that hold what is popular in the groups of visitors of whom nothing else is known."""
    popular = [
        lists.of(query.groups, contexts.latest_ms)
        if query.groups and not contexts.lengths[at] and not contexts.has_query[at]
        else None
        for at, query in enumerate(queries)
    ]
    return msgspec.structs.replace(contexts, popular=popular) if any(popular) else contexts


def cold_starts(contexts: Contexts, queries: Sequence[Query], candidates: Candidates) -> list[ColdStart]:
    """Return on which rung each answer stands."""
    clicked = (contexts.lengths > contexts.page_leads).tolist()
    return [
        ColdStart.SESSION if clicked[at] else _without_clicks(query, contexts, candidates, at)
        for at, query in enumerate(queries)
    ]


def _without_clicks(query: Query, contexts: Contexts, candidates: Candidates, at: int) -> ColdStart:
    """Return the rung of a request whose session says nothing."""
    if query.item_id is not None:
        return ColdStart.PAGE
    if query.taste is not None and contexts.has_query[at]:
        return ColdStart.PROFILE if query.taste_is_learnt else ColdStart.SAID
    if contexts.own is not None and contexts.own[at].any():
        return ColdStart.PROFILE
    if query.candidates is not None:
        return ColdStart.GIVEN
    if contexts.popular is not None and contexts.popular[at] is not None:
        return ColdStart.POPULAR_HERE
    ranks = candidates.trending_rank[candidates.starts[at] : candidates.starts[at + 1]]
    return ColdStart.POPULAR if (ranks >= 0).any() else ColdStart.NEWEST
