"""Which candidates may be shown: named rules over columns, and the page that is laid out under them.

A rule is a function that returns which candidates it drops. Rules are a list, each is counted by its name. Adding one
is adding a function to `RULES`, or naming a function of the site's own in a setting (`rerank.site_rules`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from compiled.kernels import inlined, kernel, reads, writes
from contracts.events import EventCode
from contracts.ids import item_key
from contracts.users import Hidden
from retrieval.catalogue import NO_CODE, CatalogueColumns
from retrieval.contexts import Contexts
from retrieval.key_rows import Rows

Mask = NDArray[np.bool_]


class Visitors(msgspec.Struct, frozen=True):
    """What b requests say of their visitors, one entry a request."""

    regions: Sequence[str | None]
    ages: NDArray[np.int16]
    """(b,) years that the visitor is known, or taken, to have."""
    page_rows: Rows
    """(b,) the page's item; -1 for none."""
    hides_viewed: Mask
    """(b,) whether items of the window are left out."""
    hides_taken: Mask
    """(b,) whether items that were put in the cart or bought are left out."""
    excluded: NDArray[np.int64]
    """Ascending `request * catalogue.count + row` of items that the caller left out."""
    categories: Sequence[str | None] = ()
    """The category that a request wants items of; empty: none wants one."""
    contexts: Sequence[Mapping[str, Any]] = ()
    """Each request's JSON object `context`: region, age and category were checked, the rest is as it came. Empty: none
    was given.
    """
    hidden: Sequence[Hidden | None] = ()
    """What a request's user is never to be shown; empty: nobody hid anything."""
    bought: NDArray[np.int64] = np.zeros(0, np.int64)
    """`request * catalogue.count + row` of what users bought in any session, where the placement leaves that out."""


class Proposed(msgspec.Struct, frozen=True):
    """Candidates as the rules see them. `request` (c,) counts from 0 and indexes what `visitors` and `contexts` hold;
    `rows` (c,) index the catalogue. c may be 0.
    """

    request: NDArray[np.int32]
    rows: Rows
    catalogue: CatalogueColumns
    contexts: Contexts
    visitors: Visitors


Rule = Callable[[Proposed], Mask]
"""Returns which candidates it drops, (c,)."""


def out_of_stock(proposed: Proposed) -> Mask:
    """No stock is left."""
    dropped: Mask = proposed.catalogue.stock[proposed.rows] <= 0
    return dropped


def other_region(proposed: Proposed) -> Mask:
    """Not sold where the visitor is. A visitor without a region may see everything."""
    catalogue = proposed.catalogue
    dropped = np.zeros(len(proposed.rows), np.bool_)
    for at, region in enumerate(proposed.visitors.regions):
        if region is not None:
            mine = np.flatnonzero(proposed.request == at)
            dropped[mine] = ~catalogue.sold_in(proposed.rows[mine], region)
    return dropped


def other_category(proposed: Proposed) -> Mask:
    """Not in the category that was asked for, or below it."""
    dropped = np.zeros(len(proposed.rows), np.bool_)
    for at, category in enumerate(proposed.visitors.categories):
        if category:
            mine = np.flatnonzero(proposed.request == at)
            dropped[mine] = ~proposed.catalogue.below_category(proposed.rows[mine], category)
    return dropped


def too_young(proposed: Proposed) -> Mask:
    """Has an age limit that the visitor is not known to have reached."""
    dropped: Mask = proposed.catalogue.min_age[proposed.rows] > proposed.visitors.ages[proposed.request]
    return dropped


def seen(proposed: Proposed) -> Mask:
    """Is in the session's window, or was bought in an earlier one, where the placement leaves such items out."""
    contexts, visitors = proposed.contexts, proposed.visitors
    taken = (contexts.codes == EventCode.CART) | (contexts.codes == EventCode.PURCHASE)  # (b, w)
    hidden = (contexts.rows >= 0) & (visitors.hides_viewed[:, None] | (visitors.hides_taken[:, None] & taken))
    bought = np.isin(_codes(proposed), visitors.bought) if len(visitors.bought) else np.bool_(False)
    if not hidden.any():
        return np.zeros(len(proposed.rows), np.bool_) | bought
    hidden_rows = np.where(hidden, contexts.rows, np.int32(-1))  # (b, w)
    dropped: Mask = (hidden_rows[proposed.request] == proposed.rows[:, None]).any(axis=1)  # (c, w) to (c,)
    return dropped | bought


def excluded(proposed: Proposed) -> Mask:
    """Named by the caller."""
    if not len(proposed.visitors.excluded):
        return np.zeros(len(proposed.rows), np.bool_)
    return np.isin(_codes(proposed), proposed.visitors.excluded)


def turned_down(proposed: Proposed) -> Mask:
    """The visitor hid or disliked it, or sent it back."""
    against = proposed.contexts.against
    if against is None:
        return np.zeros(len(proposed.rows), np.bool_)
    return np.isin(_codes(proposed), against.request * np.int64(proposed.catalogue.count) + against.rows)


def page_item(proposed: Proposed) -> Mask:
    """Is what the page shows already."""
    dropped: Mask = proposed.rows == proposed.visitors.page_rows[proposed.request]
    return dropped


def do_not_show(proposed: Proposed) -> Mask:
    """The user asked not to be shown it: the item, its brand, or a category that it is in."""
    catalogue = proposed.catalogue
    dropped = np.zeros(len(proposed.rows), np.bool_)
    for at, hidden in enumerate(proposed.visitors.hidden):
        if hidden is not None:
            mine = np.flatnonzero(proposed.request == at)
            dropped[mine] = hides(catalogue, hidden, proposed.rows[mine])
    return dropped


def hides(catalogue: CatalogueColumns, hidden: Hidden, rows: Rows) -> Mask:
    """Return which of rows (n,) are hidden. What the catalogue does not know hides nothing."""
    brands = catalogue.words.brands
    codes = [brands[brand] for brand in hidden.brands if brand in brands and brand]
    found: Mask = np.isin(catalogue.keys[rows], np.array([item_key(one) for one in hidden.items], np.uint64))
    found |= np.isin(catalogue.brand[rows], np.array(codes, np.int32))
    for category in hidden.categories:
        found |= catalogue.below_category(rows, category)
    return found


RULES: tuple[Rule, ...] = (
    *(out_of_stock, other_region, other_category, too_young, turned_down, seen, excluded, page_item),
    do_not_show,
)


KEPT = -1
"""Stands for no rule: the candidate stays."""


def dropped_by(proposed: Proposed, rules: Sequence[Rule] = RULES) -> NDArray[np.int8]:
    """Return which rule drops each candidate, (c,): its place in `rules`, of several the first; KEPT for none.

    Those of the built-in rules that need no words run as one kernel, in whatever place they stand; all others are
    called, one by one.
    """
    by = np.empty(len(proposed.rows), np.int8)
    by.fill(KEPT)
    idle = (
        *(() if any(proposed.visitors.categories) else (other_category,)),
        *(() if proposed.contexts.against is not None else (turned_down,)),
        *(() if any(proposed.visitors.hidden) else (do_not_show,)),
    )
    called = (
        *((other_region,) if _named(proposed) else ()),
        *((seen,) if len(proposed.visitors.bought) else ()),
    )
    places, alone = _parted(tuple(rules), called, idle)
    if places is not None:
        _drop_together(proposed, places, by)
    for place, rule in alone:
        by[rule(proposed) & ((by == KEPT) | (by > place))] = place
    return by


_COMPILED: Final = (out_of_stock, other_region, too_young, seen, excluded, page_item)
"""The rules that `_drop` knows, in the order of its `places`."""


def _named(proposed: Proposed) -> bool:
    """Return whether a visitor's region is told from others by its name alone."""
    further = proposed.catalogue.words.further_regions
    return bool(further) and any(region in further for region in proposed.visitors.regions)


@lru_cache(maxsize=64)
def _parted(
    rules: tuple[Rule, ...], called: tuple[Rule, ...], idle: tuple[Rule, ...]
) -> tuple[NDArray[np.int64] | None, list[tuple[int, Rule]]]:
    """Return the places among `rules` of those that one kernel stands for, (6,) as `_drop` takes them, None where it
    stands for none; and the others with theirs. `called` rules read what the kernel does not, `idle` ones drop nothing.
    """
    together = [rule for rule in (*_COMPILED, *idle) if rule in rules and rule not in called]
    places = np.array([rules.index(rule) if rule in together else _NOWHERE for rule in _COMPILED], np.int64)
    return places if together else None, [(at, rule) for at, rule in enumerate(rules) if rule not in together]


def _drop_together(proposed: Proposed, places: NDArray[np.int64], by: NDArray[np.int8]) -> None:
    catalogue, contexts, visitors = proposed.catalogue, proposed.contexts, proposed.visitors
    bits = [0 if region is None else catalogue.region_bit(region) for region in visitors.regions]
    _drop(
        places,
        proposed.request,
        proposed.rows,
        catalogue.stock,
        catalogue.region_mask,
        catalogue.min_age,
        np.array(bits, np.uint64),
        visitors.ages,
        contexts.rows,
        contexts.codes,
        visitors.hides_viewed,
        visitors.hides_taken,
        np.sort(visitors.excluded) if len(visitors.excluded) else visitors.excluded,
        catalogue.count,
        visitors.page_rows,
        by,
    )


_NOWHERE: Final = 127
"""Place of a rule that is not asked: behind all others."""
_CART: Final = int(EventCode.CART)
_PURCHASE: Final = int(EventCode.PURCHASE)


@inlined
def _holds(ascending: NDArray[np.int64], value: int) -> bool:
    low, high = 0, len(ascending)
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low < len(ascending) and ascending[low] == value


@inlined
def _in_window(
    row: int, window: NDArray[np.int32], codes: NDArray[np.uint8], hides_viewed: bool, hides_taken: bool
) -> bool:
    for at in range(len(window)):
        if window[at] == row and (hides_viewed or (hides_taken and (codes[at] == _CART or codes[at] == _PURCHASE))):
            return True
    return False


@kernel(
    reads("i8"),
    reads("i4"),
    reads("i4"),
    reads("i4"),
    reads("u8"),
    reads("i2"),
    reads("u8"),
    reads("i2"),
    reads("i4", 2),
    reads("u1", 2),
    reads("b1"),
    reads("b1"),
    reads("i8"),
    "i8",
    reads("i4"),
    writes("i1"),
)
def _drop(
    places: NDArray[np.int64],
    request: NDArray[np.int32],
    rows: Rows,
    stock: NDArray[np.int32],
    region_mask: NDArray[np.uint64],
    min_age: NDArray[np.int16],
    region_bits: NDArray[np.uint64],
    ages: NDArray[np.int16],
    windows: Rows,
    codes: NDArray[np.uint8],
    hides_viewed: Mask,
    hides_taken: Mask,
    excluded: NDArray[np.int64],
    count: int,
    page_rows: Rows,
    by: NDArray[np.int8],
) -> None:
    """Write the lowest of the places (6,) of the rules of `_COMPILED` that drop a candidate to `by` (c,).

    `region_bits` (b,) are 0 where no region is asked for. `excluded` must be ascending.
    """
    for at in range(len(rows)):
        mine, row, first = request[at], rows[at], _NOWHERE
        if stock[row] <= 0:
            first = min(first, places[0])
        if region_bits[mine] != 0 and region_mask[row] & region_bits[mine] == 0:
            first = min(first, places[1])
        if min_age[row] > ages[mine]:
            first = min(first, places[2])
        hides = hides_viewed[mine] or hides_taken[mine]
        if hides and _in_window(row, windows[mine], codes[mine], hides_viewed[mine], hides_taken[mine]):
            first = min(first, places[3])
        if places[4] < first and len(excluded) and _holds(excluded, mine * count + row):
            first = places[4]
        if row == page_rows[mine]:
            first = min(first, places[5])
        if first < _NOWHERE:
            by[at] = first


def names_of(rules: Sequence[Rule]) -> list[str]:
    """Return the names that drops are counted by: the rules in their order, then the limit per category."""
    return [*(rule.__name__ for rule in rules), limit_per_category.__name__]


def count_dropped(
    by: NDArray[np.int8], request: NDArray[np.int32], requests: int, names: Sequence[str]
) -> list[dict[str, int]]:
    """Return for every request how many candidates each rule dropped; what dropped none is not named."""
    table = np.zeros((requests, len(names)), np.int64)
    _count(by, request, table)
    return [{name: many for name, many in zip(names, counts, strict=True) if many} for counts in table.tolist()]


@kernel(reads("i1"), reads("i4"), writes("i8", 2))
def _count(by: NDArray[np.int8], request: NDArray[np.int32], table: NDArray[np.int64]) -> None:
    for at in range(len(by)):
        if by[at] >= 0:
            table[request[at], by[at]] += 1


def name_dropped(
    by: NDArray[np.int8], scores: NDArray[np.float32], proposed: Proposed, at: int, names: Sequence[str], most: int
) -> dict[str, list[str]]:
    """Return the ids of the candidates that were dropped of request `at`, by rule, best first, `most` a rule."""
    mine = np.flatnonzero((proposed.request == at) & (by != KEPT))
    mine = mine[np.argsort(-scores[mine], kind="stable")]
    named: dict[str, list[str]] = {}
    for place in np.unique(by[mine]).tolist():
        rows = proposed.rows[mine[by[mine] == place][:most]]
        named[names[place]] = [proposed.catalogue.item_ids[row] for row in rows.tolist()]
    return named


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of candidates, best first, grouped by request; and how many each request has of them."""

    shown: NDArray[np.intp]
    """Within the limit per category."""
    over: NDArray[np.intp]
    """Beyond it, best first: for a page that cannot be filled otherwise."""


def limit_per_category(
    request: NDArray[np.int32], category: NDArray[np.int32], order: NDArray[np.intp], limits: NDArray[np.int32]
) -> Layout:
    """Part candidates in rank order into the first `limits[request]` of each category and the ones beyond.

    `order` holds positions, best first within each request and grouped by request. Items without a category are
    never limited, nor is a request whose limit is 0.
    """
    groups = request[order].astype(np.int64) << 32 | category[order]
    by_group = np.argsort(groups, kind="stable")
    ordered = groups[by_group]
    positions = np.arange(len(order))
    begins = np.ones(len(order), np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    place = np.empty(len(order), np.int64)
    place[by_group] = positions - np.maximum.accumulate(np.where(begins, positions, 0))
    limit = limits[request[order]]
    within = (place < limit) | (limit == 0) | (category[order] == NO_CODE)
    return Layout(order[within], order[~within])


def _codes(proposed: Proposed) -> NDArray[np.int64]:
    return proposed.request * np.int64(proposed.catalogue.count) + proposed.rows
