"""Lives of visitors: from the first page of one to the last thing known of it. Pure functions of sets of facts.

A life ends when a visitor was away for longer than twice the longest window. What a life counts for may need facts that
are too old to be kept: their `Past` is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import msgspec

from attribution.facts import NOT_RECOMMENDED, PURCHASE, RETURN, SCALE, Dims, Outcome, Page

DAY_MS = 86_400_000


class Begun(NamedTuple):
    """A first page: when, which, and what it is told apart by."""

    ts: int
    page_id: str
    dims: Dims


class Past(msgspec.Struct, frozen=True, array_like=True):
    """What a life was before the facts that are kept. `spent`: money by currency, returns subtracted."""

    first_page: Begun | None
    first_outcome_ms: int | None
    bought: bool
    spent: dict[str, int]
    last_ms: int


class Life(NamedTuple):
    """Facts that belong together, and what was before them."""

    past: Past | None
    pages: Sequence[Page]
    outcomes: Sequence[Outcome]

    @property
    def first_page(self) -> Begun | None:
        past = None if self.past is None else self.past.first_page
        first = min(self.pages, key=lambda page: (page.ts, page.page_id), default=None)
        if first is None or (past is not None and past[:2] < (first.ts, first.page_id)):
            return past
        return Begun(first.ts, first.page_id, first.dims)

    @property
    def bought(self) -> bool:
        return (self.past is not None and self.past.bought) or any(one.kind == PURCHASE for one in self.outcomes)

    @property
    def begun(self) -> tuple[int, Dims]:
        """When the life began, and by what: its first page, or its first outcome where it has none."""
        page = self.first_page
        return (page.ts, page.dims) if page is not None else (self._first_outcome_ms() or 0, NOT_RECOMMENDED)

    def spent(self) -> Counter[str]:
        money = Counter(self.past.spent if self.past is not None else {})
        for one in self.outcomes:
            if one.money is not None and one.kind in (PURCHASE, RETURN):
                money[one.currency] += one.money if one.kind == PURCHASE else -one.money
        return money

    def first_purchase(self) -> tuple[Outcome, int] | None:
        """Return the first purchase, and how long after the first page it was, in milliseconds. None without either,
        and where it was before any page.
        """
        if self.past is not None and self.past.bought:
            return None
        bought = min(
            (one for one in self.outcomes if one.kind == PURCHASE), key=lambda one: (one.ts, one.event_id), default=None
        )
        if bought is None or (page := self.first_page) is None or page.ts > bought.ts:
            return None
        return bought, bought.ts - page.ts

    def summed(self) -> Past:
        """Return what is to be known of this life when its facts are gone."""
        last = [*(page.ts for page in self.pages), *(one.ts for one in self.outcomes)]
        if self.past is not None:
            last.append(self.past.last_ms)
        money = {currency: total for currency, total in sorted(self.spent().items()) if total}
        return Past(self.first_page, self._first_outcome_ms(), self.bought, money, max(last))

    def _first_outcome_ms(self) -> int | None:
        stamps = [one.ts for one in self.outcomes]
        if self.past is not None and self.past.first_outcome_ms is not None:
            stamps.append(self.past.first_outcome_ms)
        return min(stamps, default=None)


def lives(past: Past | None, pages: Collection[Page], outcomes: Collection[Outcome], gap_ms: int) -> list[Life]:
    """Return the lives of a visitor, oldest first."""
    stamps = [*(page.ts for page in pages), *(one.ts for one in outcomes), *([] if past is None else [past.last_ms])]
    if not stamps:
        return []
    begins = _begins(stamps, gap_ms)
    if not begins:
        return [Life(past, list(pages), list(outcomes))]
    found = []
    for at, (first, end) in enumerate(pairwise([None, *begins, None])):
        own_pages = [page for page in pages if _within(page.ts, first, end)]
        own = [one for one in outcomes if _within(one.ts, first, end)]
        found.append(Life(past if at == 0 else None, own_pages, own))
    return found


def _begins(stamps: Sequence[int], gap_ms: int) -> list[int]:
    """Return the times at which a new life begins."""
    if max(stamps) - min(stamps) <= gap_ms:
        return []
    return [later for earlier, later in pairwise(sorted(stamps)) if later - earlier > gap_ms]


def _within(ts: int, first: int | None, end: int | None) -> bool:
    return (first is None or ts >= first) and (end is None or ts < end)


def folded(past: Past | None, pages: Collection[Page], outcomes: Collection[Outcome], gap_ms: int) -> Past | None:
    """Return the past with facts that are about to be forgotten: all of them older than any that is kept."""
    found = lives(past, pages, outcomes, gap_ms)
    return found[-1].summed() if found else None


def days(pages: Iterable[Page]) -> dict[tuple[int, Dims], int]:
    """Return the first time of each day (days since 1970) and dimensions that pages are of."""
    first: dict[tuple[int, Dims], int] = {}
    for page in pages:
        key = page.ts // DAY_MS, page.dims
        first[key] = min(page.ts, first.get(key, page.ts))
    return first


def bucket_of(waited_ms: int) -> int:
    """Return the bucket of a time: two of them double it. Bucket `b` begins at `bucket_s(b)` seconds."""
    return ((waited_ms // 1000) ** 2).bit_length()


def bucket_s(bucket: int) -> float:
    """Return where a bucket begins, in seconds."""
    return float(2 ** ((bucket - 1) / 2)) if bucket else 0.0


def median_s(counts: Mapping[int, int]) -> float | None:
    """Return the median of times counted by bucket, in seconds, evenly spread within theirs; None of no times.
    The bucket is at most a factor 1.41 wide."""
    total, below = sum(counts.values()), 0
    for bucket, count in sorted(counts.items()):
        if count > 0 and 2 * (below + count) >= total:
            part = (total / 2 - below) / count
            low, high = bucket_s(bucket), bucket_s(bucket + 1)
            return low + part * (high - low)
        below += count
    return None


def in_scale(waited_ms: int) -> int:
    """Return a time as counters keep it: ten-thousandths of a second."""
    return waited_ms * SCALE // 1000
