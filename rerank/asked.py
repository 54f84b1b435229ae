"""What queries ask, as arrays over the catalogue: for the rules, and for whoever lays pages out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.ids import item_key
from rerank.feedback import bought_in
from rerank.pages import Wanted
from rerank.query import PipelineSettings, Query, Seen
from rerank.rules import Visitors
from retrieval.ann_index import Filter
from retrieval.catalogue import CatalogueColumns
from retrieval.filters import mask_of
from retrieval.key_rows import Rows

Mask = NDArray[np.bool_]

_NO_CODES: Final = np.zeros(0, np.int64)


class Asked:
    """Reads queries over columns that somebody else keeps up to date."""

    def __init__(self, catalogue: CatalogueColumns, settings: PipelineSettings) -> None:
        self._catalogue, self._settings = catalogue, settings

    def visitors(self, queries: Sequence[Query]) -> Visitors:
        unknown, b = self._settings.unknown_age, len(queries)
        seen = [self.seen(query) for query in queries]
        page_rows = np.empty(b, np.int32)
        page_rows.fill(-1)
        paged = [at for at, query in enumerate(queries) if query.item_id is not None]
        if paged:
            page_rows[paged] = self.rows_of([queries[at].item_id or "" for at in paged])
        count = self._catalogue.count
        excluded = [
            at * count + row
            for at, query in enumerate(queries)
            if query.exclude or query.shown_before
            for row in self._known(query)
        ]
        return Visitors(
            regions=[query.region for query in queries],
            ages=np.array([unknown if query.age is None else query.age for query in queries], np.int16),
            page_rows=page_rows,
            hides_viewed=np.array([policy is Seen.ALL for policy in seen], np.bool_),
            hides_taken=np.array([policy is Seen.TAKEN for policy in seen], np.bool_),
            excluded=np.array(sorted(excluded), np.int64) if excluded else _NO_CODES,
            categories=[query.category for query in queries],
            contexts=[query.context for query in queries],
            hidden=[query.hidden for query in queries] if any(query.hidden for query in queries) else (),
            bought=self._bought(queries, seen) if any(query.learnt is not None for query in queries) else _NO_CODES,
        )

    def _bought(self, queries: Sequence[Query], seen: Sequence[Seen]) -> NDArray[np.int64]:
        """Return `request * count + row` of what users bought in any session, where that is left out."""
        codes = [_NO_CODES]
        for at, (query, policy) in enumerate(zip(queries, seen, strict=True)):
            if query.learnt is not None and query.placement.defaults.recalls_bought and policy is not Seen.NONE:
                rows = self._catalogue.rows_of(bought_in(query.learnt.profile.clicks))
                codes.append(at * np.int64(self._catalogue.count) + rows[rows >= 0])
        return np.concatenate(codes)

    def seen(self, query: Query) -> Seen:
        """Return which items of the session are left out."""
        decided = None if query.scenario is None else query.scenario.scenario.seen
        return decided or self._settings.seen_at(query.placement)

    def wanted(self, queries: Sequence[Query]) -> Wanted:
        return Wanted(
            limits=np.array([query.limit for query in queries], np.int32),
            per_category=np.array([self._per_category(query) for query in queries], np.int32),
            may_fill_up=np.array([query.candidates is None for query in queries], np.bool_),
        )

    def _per_category(self, query: Query) -> int:
        """Return how many items of one category a page may show; 0 is no limit."""
        share = self._settings.category_share
        searched = query.candidates is not None or not query.placement.defaults.limits_categories or query.category
        return 0 if searched or share in (0, 1) else math.ceil(share * query.limit)

    def rows_of(self, item_ids: Sequence[str]) -> Rows:
        """Return the row of every id, -1 for an unknown one."""
        return self._catalogue.rows_of(np.fromiter(map(item_key, item_ids), np.uint64, len(item_ids)))

    def _known(self, query: Query) -> list[int]:
        """Return the rows of what a query leaves out by name, or because its cursor says that it was shown."""
        rows = self.rows_of(query.exclude)
        if query.shown_before:
            rows = np.concatenate([rows, self._catalogue.rows_of(np.array(query.shown_before, np.uint64))])
        known: list[int] = rows[rows >= 0].tolist()
        return known

    def found_by(self, query: Query) -> Mask | None:
        """Return which items (count,) a query's filter finds; None where it has none."""
        if not (query.category or query.region or query.whole_filter.masks):
            return None
        return mask_of(self._catalogue, self._catalogue.alive[: self._catalogue.count], filter_of(query))


def filter_of(query: Query) -> Filter:
    """Return what retrieval may find for a query."""
    return Filter(query.category, query.region, in_stock=True, keep=query.whole_filter.masks)


def narrowing(query: Query) -> Filter | None:
    """Return the filter of a query that narrows what is found; None where stock alone does."""
    return filter_of(query) if query.category or query.region or query.whole_filter.masks else None
