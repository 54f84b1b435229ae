"""Pages: the best candidates that the rules leave, no category beyond its share, filled up when that is too few.

A page that is short is filled from what trends, under the same rules. A page that would stay empty, as before anything
trends, gets the newest items that they leave.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiled.kernels import kernel, reads, writes
from rerank.feedback import turns_down
from rerank.rules import KEPT, Proposed, Rule, dropped_by, limit_per_category
from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.key_rows import Rows

Float32s = NDArray[np.float32]
Mask = NDArray[np.bool_]

FROM_TRENDS: Final = -1
FROM_NEWEST: Final = -2
"""Positions of items that were no candidates and filled a page up: see `Page`."""
FROM_PINS: Final = -3
"""Position of an item that was no candidate and that the scenario pinned."""
_PUT_IN_LAST = 2000
"""Rows among which the newest items are looked for: all rows of a large catalogue would take too long to order."""


class Page(msgspec.Struct, frozen=True):
    """What one request is shown, best first, n items."""

    positions: NDArray[np.intp]
    """(n,) positions among the candidates; FROM_TRENDS or FROM_NEWEST for an item that filled the page up."""
    rows: Rows
    """(n,) catalogue rows."""
    scores: Float32s
    """(n,) falling."""


class Pages(msgspec.Struct, frozen=True):
    """What b requests are shown, n items in all, page after page: as `Page` says, and where each page begins."""

    positions: NDArray[np.intp]
    rows: Rows
    scores: Float32s
    starts: NDArray[np.intp]
    """(b + 1,)"""

    def page(self, at: int) -> Page:
        """Return one of them."""
        begin, end = self.starts[at], self.starts[at + 1]
        return Page(self.positions[begin:end], self.rows[begin:end], self.scores[begin:end])


class Wanted(msgspec.Struct, frozen=True):
    """How the b pages should be."""

    limits: NDArray[np.int32]
    """(b,) items."""
    per_category: NDArray[np.int32]
    """(b,) items of one category; 0 is no limit."""
    may_fill_up: NDArray[np.bool_]
    """(b,) whether items beyond the candidates may come in."""


class Filling(msgspec.Struct, frozen=True):
    """Where rows that fill pages up come from, best first: each is asked only for a page that needs it."""

    trending: Callable[[], Rows]
    newest: Callable[[int], Rows]
    """Of a request: those that its filter finds."""
    keeps: Callable[[int, Rows], Mask] = lambda request, rows: np.ones(len(rows), np.bool_)
    """Which of rows (n,) a request's own filter lets in."""
    ordered: Callable[[int, Rows], Rows] = lambda request, rows: rows
    """Rows in the order in which they fill a request's page."""


class Candidates(msgspec.Struct, frozen=True):
    """What one request's page may be made of, for whoever lays it out otherwise than by score."""

    request: int
    order: NDArray[np.intp]
    """(n,) positions of what the rules leave, best first."""
    rows: Rows
    """(c,) of all candidates of the batch."""
    scores: Float32s
    """(c,) likewise."""
    limit: int
    per_category: int
    """Items of one category that the placement allows; 0 is no limit."""
    rules: Sequence[Rule]
    further: Callable[[Rows], Rows]
    """Returns those of rows that are no candidates and that the rules and the filter leave."""
    allowed: Callable[[Rows, Sequence[Rule]], Mask]
    """Returns which of rows some rules leave this request."""
    fills_anyway: bool
    """Whether the newest items fill a page that the scenario's own fallback leaves short: the visitor turned something
    down, so that nothing may be left of what candidates are looked for by."""


Arranged = tuple[Page, NDArray[np.intp]]
"""A page, and the positions of candidates that a limit held back from it."""
Arrange = Callable[[Candidates], Arranged]


class Decided(msgspec.Struct, frozen=True):
    """What scenarios decide of a batch's pages."""

    drop: Callable[[NDArray[np.int8]], None]
    """Marks, in what drops each candidate (c,), those that a filter drops."""
    arrange: Mapping[int, Arrange]
    """By request: how its page is laid out. Others are laid out by score."""


def lay_out(
    proposed: Proposed,
    order: NDArray[np.intp],
    scores: Float32s,
    wanted: Wanted,
    filling: Filling,
    rules: Sequence[Rule],
    decided: Decided | None = None,
) -> tuple[Pages, NDArray[np.int8]]:
    """Return every request's page, and which rule dropped each candidate, (c,): its place among `rules`, len(rules)
    for the limit per category, or KEPT. That limit dropped what would have been on the page without it.

    `order` holds the candidates' positions, best first, grouped by request; or those of one request alone, where the
    limits of all others are 0.
    """
    by = dropped_by(proposed, rules)
    if decided is not None:
        decided.drop(by)
    b = len(wanted.limits)
    shown, over = np.empty(len(order), np.intp), np.empty(len(order), np.intp)
    starts, over_starts = np.zeros(b + 1, np.intp), np.zeros(b + 1, np.intp)
    _choose(
        order,
        proposed.request,
        proposed.rows,
        proposed.catalogue.category,
        wanted.limits,
        wanted.per_category,
        len(rules),
        by,
        shown,
        starts,
        over,
        over_starts,
    )
    shown = shown[: starts[b]]
    pages = Pages(shown, proposed.rows.take(shown), scores.take(shown), starts)
    begins = starts.tolist()
    arrange = {} if decided is None else decided.arrange
    if begins[-1] == sum(wanted.limits.tolist()) and not arrange:
        return pages, by
    each = [
        Page(pages.positions[begin:end], pages.rows[begin:end], pages.scores[begin:end])
        for begin, end in pairwise(begins)
    ]
    for at, limit in enumerate(wanted.limits.tolist()):
        if at in arrange:
            begin, end = np.searchsorted(proposed.request, [at, at + 1])
            by[begin:end][by[begin:end] == len(rules)] = KEPT  # the limit of the settings is not this page's
            mine = order if len(order) < len(by) else order[begin:end]
            each[at], beyond = arrange[at](_candidates(at, mine, proposed, scores, wanted, filling, rules, by))
            by[beyond] = len(rules)
        elif len(each[at].rows) < limit:
            beyond = over[over_starts[at] : over_starts[at + 1]]
            each[at] = _filled(each[at], at, beyond, proposed, scores, wanted, filling, rules)
            by[beyond[~np.isin(beyond, each[at].positions)]] = len(rules)
    return joined(each), by


@kernel(
    reads("i8"),
    reads("i4"),
    reads("i4"),
    reads("i4"),
    reads("i4"),
    reads("i4"),
    "i8",
    writes("i1"),
    writes("i8"),
    writes("i8"),
    writes("i8"),
    writes("i8"),
)
def _choose(
    order: NDArray[np.intp],
    request: NDArray[np.int32],
    rows: Rows,
    category: NDArray[np.int32],
    limits: NDArray[np.int32],
    per_category: NDArray[np.int32],
    place: int,
    by: NDArray[np.int8],
    shown: NDArray[np.intp],
    starts: NDArray[np.intp],
    over: NDArray[np.intp],
    over_starts: NDArray[np.intp],
) -> None:
    """Write the positions of each request's page to `shown`, at most its limit, within the limit per category.

    What that limit held back of a page that became full is marked by `place` in `by`. Of a page that did not, it is
    written to `over`, best first: request r has those from `over_starts[r]` to `over_starts[r + 1]`.
    """
    at, filled, held = 0, 0, 0
    for mine in range(len(limits)):
        first, first_held = filled, held
        while at < len(order) and request[order[at]] == mine:
            position = order[at]
            at += 1
            if by[position] >= 0 or filled - first >= limits[mine]:
                continue
            code, alike = category[rows[position]], 0
            if per_category[mine] > 0 and code != NO_CODE:
                for other in range(first, filled):
                    alike += category[rows[shown[other]]] == code
            if per_category[mine] > 0 and alike >= per_category[mine]:
                over[held] = position
                held += 1
            else:
                shown[filled] = position
                filled += 1
        if filled - first >= limits[mine]:
            for other in range(first_held, held):
                by[over[other]] = place
            held = first_held
        starts[mine + 1], over_starts[mine + 1] = filled, held


def joined(pages: Sequence[Page]) -> Pages:
    """Return pages one after the other."""
    if len(pages) == 1:
        [page] = pages
        return Pages(page.positions, page.rows, page.scores, np.array([0, len(page.rows)], np.intp))
    return Pages(
        np.concatenate([page.positions for page in pages]),
        np.concatenate([page.rows for page in pages]),
        np.concatenate([page.scores for page in pages]),
        np.cumsum([0, *(len(page.rows) for page in pages)], dtype=np.intp),
    )


def _filled(
    page: Page,
    request: int,
    over: NDArray[np.intp],
    proposed: Proposed,
    scores: Float32s,
    wanted: Wanted,
    filling: Filling,
    rules: Sequence[Rule],
) -> Page:
    """Fill a page up: from what trends, within the limit per category, then from whatever that limit held back, and at
    last from the newest items.
    """
    limit, per_category = int(wanted.limits[request]), int(wanted.per_category[request])
    trending, newest = np.zeros(0, np.int32), np.zeros(0, np.int32)
    if wanted.may_fill_up[request]:
        trending = _further(request, proposed, filling.trending(), rules, filling)
        if len(page.rows) + len(trending) + len(over) < limit:
            newest = _further(request, proposed, filling.newest(request), rules, filling)
            newest = newest[~np.isin(newest, trending)]
    from_trends, from_newest = np.full(len(trending), FROM_TRENDS, np.intp), np.full(len(newest), FROM_NEWEST, np.intp)
    positions = np.concatenate([page.positions, from_trends, over, from_newest])
    rows = np.concatenate([page.rows, trending, proposed.rows[over], newest])
    fresh = limit_per_category(
        np.zeros(len(rows), np.int32),
        proposed.catalogue.category[rows],
        np.arange(len(rows)),
        np.array([per_category], np.int32),
    )
    chosen = np.concatenate([fresh.shown, fresh.over])[:limit]
    return Page(positions[chosen], rows[chosen], falling(positions[chosen], scores))


def _further(request: int, proposed: Proposed, rows: Rows, rules: Sequence[Rule], filling: Filling) -> Rows:
    """Return those of the rows that are no candidates of the request and that its rules and its filter leave."""
    mine = proposed.rows[proposed.request == request]
    rows = rows[~np.isin(rows, mine)]
    kept: Rows = rows[_allowed(request, proposed, rows, rules) & filling.keeps(request, rows)]
    return filling.ordered(request, kept)


def _allowed(request: int, proposed: Proposed, rows: Rows, rules: Sequence[Rule]) -> Mask:
    asked = Proposed(
        np.full(len(rows), request, np.int32), rows, proposed.catalogue, proposed.contexts, proposed.visitors
    )
    allowed: Mask = dropped_by(asked, rules) == KEPT
    return allowed


def _candidates(
    request: int,
    order: NDArray[np.intp],
    proposed: Proposed,
    scores: Float32s,
    wanted: Wanted,
    filling: Filling,
    rules: Sequence[Rule],
    by: NDArray[np.int8],
) -> Candidates:
    mine = order[by[order] == KEPT]
    return Candidates(
        request,
        mine,
        proposed.rows,
        scores,
        int(wanted.limits[request]),
        int(wanted.per_category[request]),
        rules,
        lambda rows: _further(request, proposed, rows, rules, filling),
        lambda rows, some: _allowed(request, proposed, rows, some),
        turns_down(request, proposed.contexts),
    )


def falling(positions: NDArray[np.intp], scores: Float32s) -> Float32s:
    """Return scores that never rise down the page; an item without one stands level with the one before it."""
    falling: list[float] = []
    for position in positions.tolist():
        before = falling[-1] if falling else float(scores.max(initial=0.0))
        falling.append(min(before, float(scores[position])) if position >= 0 else before)
    return np.array(falling, np.float32)


def trending_rows(catalogue: CatalogueColumns, keys: NDArray[np.uint64]) -> Rows:
    """Return the rows of trending keys that are alive, in their order."""
    rows = catalogue.rows_of(keys)
    rows = rows[rows >= 0]
    return rows[catalogue.alive[rows]]


def newest_rows(catalogue: CatalogueColumns, found: Mask | None = None) -> Rows:
    """Return the rows of items that are alive, of those put in last, the one created last first. With `found` (count,)
    those that are found alone, of the whole catalogue.
    """
    first = 0 if found is not None else max(0, catalogue.count - _PUT_IN_LAST)
    alive = catalogue.alive[first : catalogue.count]
    rows = (first + np.flatnonzero(alive if found is None else alive & found)).astype(np.int32)
    created_ms = catalogue.created_ms[rows]
    if len(rows) > _PUT_IN_LAST:
        latest = np.sort(np.argpartition(-created_ms, _PUT_IN_LAST)[:_PUT_IN_LAST])
        rows, created_ms = rows[latest], created_ms[latest]
    newest: Rows = rows[np.argsort(-created_ms, kind="stable")]
    return newest
