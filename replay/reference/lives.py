"""Visitors, users and first purchases, read plainly: all facts of a visitor at once, in order of time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from attribution.cells import HOUR_MS, Cell, Cells
from attribution.facts import NOT_RECOMMENDED, SCALE, Dims, Outcome, Page

EarnersOf = Callable[[Outcome], Sequence[Page]]
_DAY_HOURS = 24


def count_visits(cells: Cells, pages: Sequence[Page]) -> None:
    """Count a visitor in the first hour of each day and dimensions."""
    for day, dims in {(page.ts // HOUR_MS // _DAY_HOURS, page.dims) for page in pages}:
        hours = [page.ts // HOUR_MS for page in pages if page.dims == dims]
        cells[Cell(min(hour for hour in hours if hour // _DAY_HOURS == day), dims, "visitors")] += SCALE


def count_lives(
    cells: Cells,
    pages: Sequence[Page],
    outcomes: Sequence[Outcome],
    earners_of: EarnersOf,
    *,
    is_user: bool,
    gap_ms: int,
) -> None:
    """Count the lives of a visitor: of a user who came and what was spent; of anybody the first purchase."""
    facts: list[Page | Outcome] = sorted([*pages, *outcomes], key=lambda fact: fact.ts)
    ends = [at for at, (one, other) in enumerate(pairwise(facts), 1) if other.ts - one.ts > gap_ms]
    for begin, end in pairwise([0, *ends, len(facts)]):
        life = facts[begin:end]
        own = [fact for fact in life if isinstance(fact, Outcome)]
        first = min((f for f in life if isinstance(f, Page)), key=lambda page: (page.ts, page.page_id), default=None)
        if is_user and life:
            _count_user(cells, life[0].ts if first is None else first.ts, first, own)
        bought = sorted((one.ts, one.event_id) for one in own if one.kind == "purchase")
        if first is not None and bought and first.ts <= bought[0][0]:
            [line] = [one for one in own if one.event_id == bought[0][1]]
            _count_first(cells, line, line.ts - first.ts, [page.dims for page in earners_of(line)])


def _count_user(cells: Cells, ts: int, first: Page | None, own: Sequence[Outcome]) -> None:
    hour, dims = ts // HOUR_MS, NOT_RECOMMENDED if first is None else first.dims
    cells[Cell(hour, dims, "users")] += SCALE
    cells[Cell(hour, dims, "buyers")] += SCALE * ("purchase" in {one.kind for one in own})
    for one in own:
        sign = {"purchase": 1, "return": -1}.get(one.kind, 0)
        cells[Cell(hour, dims, f"lifetime:{one.currency}")] += sign * (one.money or 0)


def _count_first(cells: Cells, line: Outcome, waited_ms: int, earners: Sequence[Dims]) -> None:
    seconds = waited_ms // 1000
    bucket = 0 if not seconds else math.floor(math.log2(seconds**2)) + 1
    counted = {
        "first_purchases": SCALE,
        "first_purchase_seconds": SCALE * waited_ms // 1000,
        f"first_purchase_in_{bucket}": SCALE,
    }
    for counter, total in counted.items():
        by = earners or [NOT_RECOMMENDED]
        for at, dims in enumerate(by):
            part = total // len(by) + (total % len(by) if at + 1 == len(by) else 0)
            cells[Cell(line.ts // HOUR_MS, dims, counter)] += part
