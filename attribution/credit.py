"""Credit: what the facts of one unit count for, as a pure function of the set of them.

Order, repeats and batches cannot matter: what a new fact changes is the credit after it less the credit before.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from attribution.cells import HOUR_MS, Cell, Cells
from attribution.facts import CART, CLICK, NOT_RECOMMENDED, PURCHASE, RETURN, SCALE, Dims, Outcome, Page, keys_in
from attribution.lives import Life, bucket_of, days, in_scale, lives
from attribution.units import Grown, Unit

Touch = Literal["last", "first", "linear"]
SKEW_MS: Final = 5 * 60 * 1000
"""How far a client's clock may be behind ours: an outcome that names its page may look so much older than it."""


@dataclass(frozen=True, slots=True)
class CreditRules:
    """Windows in milliseconds, and which of the pages that held an item earn its outcome."""

    click_ms: int
    purchase_ms: int
    touch: Touch = "last"

    @property
    def longest_ms(self) -> int:
        return max(self.click_ms, self.purchase_ms)

    @property
    def gap_ms(self) -> int:
        """A visitor who was away for longer begins a new life."""
        return 2 * self.longest_ms

    def window_ms(self, kind: str) -> int:
        return self.click_ms if kind == CLICK else self.purchase_ms


Earning = tuple[Page, int]
"""A page that earns an outcome, and the item's position on it."""


def change(grown: Grown, rules: CreditRules, *, is_session: bool) -> Cells:
    """Return what a unit's new facts change. Of a session: its pages too; a user's pages are counted in theirs."""
    cells: Cells = Counter()
    if is_session:
        for page in grown.pages:
            add_page(cells, page)
    cells.update(_outcomes_and_visits(grown.after, rules, is_session))
    cells.subtract(_outcomes_and_visits(grown.before, rules, is_session))
    return cells


def credit(unit: Unit, rules: CreditRules, *, is_session: bool) -> Cells:
    """Return what a whole unit counts for."""
    return change(Grown(Unit(), unit, list(unit.pages.values()), 0, 0), rules, is_session=is_session)


def add_page(cells: Cells, page: Page) -> None:
    hour, dims, length = page.ts // HOUR_MS, page.dims, len(page.items) // 8
    cells[Cell(hour, dims, "pages")] += SCALE
    cells[Cell(hour, dims, "shown")] += SCALE * length
    placed = of_positions(dims)
    for position in range(1, length + 1):
        cells[Cell(hour, placed, f"shown@{position}")] += SCALE


def of_positions(dims: Dims) -> Dims:
    """Return the dimensions that positions are told apart by: fewer, as each has as many counters as a page items."""
    return Dims(dims.recommended, dims.scenario, dims.version, dims.experiment, dims.variant)


class Shown:
    """A visitor's pages by item: looked up once an outcome, made once a change."""

    def __init__(self, pages: Mapping[str, Page], items: Iterable[bytes]) -> None:
        """`items` are the keys that will be asked for."""
        self._pages = pages
        self._by_item: dict[bytes, list[Earning]] = {item: [] for item in items}
        for page in sorted(pages.values(), key=lambda page: (page.ts, page.page_id)):
            for at, item in enumerate(keys_in(page.items), 1):
                holding = self._by_item.get(item)
                if holding is not None and not (holding and holding[-1][0] is page):  # its first position counts
                    holding.append((page, at))

    def earning(self, outcome: Outcome, rules: CreditRules) -> list[Earning]:
        """Return the pages that earn an outcome, oldest first: the page that it names, or those in its window."""
        holding = self._by_item[outcome.item]
        named = None if outcome.request_id is None else self._pages.get(outcome.request_id)
        if named is not None and -SKEW_MS <= outcome.ts - named.ts <= rules.longest_ms:
            position = named.position_of(outcome.item)
            if position:
                return [(named, position)]
        first = bisect_left(holding, outcome.ts - rules.window_ms(outcome.kind), key=_shown_ms)
        touched = holding[first : bisect_right(holding, outcome.ts, key=_shown_ms)]
        if rules.touch == "linear" or not touched:
            return touched
        return touched[-1:] if rules.touch == "last" else touched[:1]


def _shown_ms(one: Earning) -> int:
    return one[0].ts


def shares(total: int, among: int) -> list[int]:
    """Split a whole number into whole parts; what is over goes to the last."""
    part = total // among
    return [*([part] * (among - 1)), total - part * (among - 1)]


def _outcomes_and_visits(unit: Unit, rules: CreditRules, is_session: bool) -> Cells:
    cells: Cells = Counter()
    if is_session:
        _add_visits(cells, unit.pages.values())
        _add_seen(cells, unit)
    if not (is_session and unit.users):  # whose users are known is counted with them
        _add_visitors(cells, unit.pages.values())
    lived = lives(unit.life, unit.pages.values(), unit.outcomes.values(), rules.gap_ms)
    if not is_session:
        _add_users(cells, lived)
    if not unit.outcomes:
        return cells
    shown = Shown(unit.pages, (outcome.item for outcome in unit.outcomes.values()))
    found = {outcome.event_id: shown.earning(outcome, rules) for outcome in unit.outcomes.values()}
    bought: dict[bytes, list[Outcome]] = defaultdict(list)
    orders: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in unit.outcomes.values():
        if outcome.kind == PURCHASE:
            bought[outcome.item].append(outcome)
            orders[_order_of(outcome)].append(outcome)
    for outcome in unit.outcomes.values():
        by = found[outcome.event_id]
        if outcome.kind == RETURN and (line := line_of(outcome, bought[outcome.item])) is not None:
            by = found[line.event_id]
        _add_outcome(cells, outcome, by)
        if outcome.kind == CART and _is_bought(outcome, bought[outcome.item], rules):
            _spread(cells, outcome, by, "carts_bought", SCALE)
    for lines in orders.values():
        first = min(lines, key=lambda line: (not found[line.event_id], line.ts, line.event_id))
        _spread(cells, first, found[first.event_id], "orders", SCALE)
    _add_first_purchases(cells, lived, found)
    return cells


def _add_visits(cells: Cells, pages: Iterable[Page]) -> None:
    """Count a session once by dimensions, in the hour of its first page of them."""
    first: dict[Dims, int] = {}
    for page in pages:
        first[page.dims] = min(page.ts, first.get(page.dims, page.ts))
    for dims, ts in first.items():
        cells[Cell(ts // HOUR_MS, dims, "sessions")] += SCALE


def _add_visitors(cells: Cells, pages: Iterable[Page]) -> None:
    """Count a visitor once a day by dimensions, in the hour of the first page of them on that day."""
    for (_, dims), ts in days(pages).items():
        cells[Cell(ts // HOUR_MS, dims, "visitors")] += SCALE


def _add_users(cells: Cells, lived: Iterable[Life]) -> None:
    """Count a user, and all that was spent, by the first page and in its hour."""
    for life in lived:
        ts, dims = life.begun
        hour = ts // HOUR_MS
        cells[Cell(hour, dims, "users")] += SCALE
        cells[Cell(hour, dims, "buyers")] += SCALE * life.bought
        for currency, money in life.spent().items():
            cells[Cell(hour, dims, f"lifetime:{currency}")] += money


def _add_first_purchases(cells: Cells, lived: Iterable[Life], found: Mapping[str, list[Earning]]) -> None:
    """Count how long visitors took to buy, where and when the first purchase counts."""
    for life in lived:
        first = life.first_purchase()
        if first is not None:
            line, waited_ms = first
            by = found[line.event_id]
            _spread(cells, line, by, "first_purchases", SCALE)
            _spread(cells, line, by, "first_purchase_seconds", in_scale(waited_ms))
            _spread(cells, line, by, f"first_purchase_in_{bucket_of(waited_ms)}", SCALE)


def _add_seen(cells: Cells, unit: Unit) -> None:
    for page_id, items in unit.seen.items():
        page = unit.pages.get(page_id)
        if page is not None:
            count = len(set(keys_in(items)) & set(keys_in(page.items)))
            cells[Cell(page.ts // HOUR_MS, page.dims, "viewed")] += SCALE * count


def _add_outcome(cells: Cells, outcome: Outcome, by: list[Earning]) -> None:
    kind, money, currency = outcome.kind, outcome.money, outcome.currency
    if kind in (CLICK, CART):
        _spread(cells, outcome, by, f"{kind}s", SCALE)
        if kind == CLICK:
            for (page, position), part in zip(by, shares(SCALE, len(by)) if by else [], strict=True):
                placed = of_positions(page.dims)
                cells[Cell(outcome.ts // HOUR_MS, placed, f"clicks@{position}")] += part
        return
    _spread(cells, outcome, by, f"{kind}s", SCALE)
    _spread(cells, outcome, by, "pieces" if kind == PURCHASE else "pieces_returned", SCALE * outcome.quantity)
    if money is None:
        _spread(cells, outcome, by, "unpriced", SCALE)
        return
    _spread(cells, outcome, by, f"{'revenue' if kind == PURCHASE else 'returned'}:{currency}", money)
    for (page, position), part in zip(by, shares(money, len(by)) if by else [], strict=True):
        if (margin := page.margin_at(position)) is not None:
            earned = part * margin // SCALE
            counted = f"margin:{currency}"
            cells[Cell(outcome.ts // HOUR_MS, page.dims, counted)] += earned if kind == PURCHASE else -earned


def _spread(cells: Cells, outcome: Outcome, by: list[Earning], counter: str, total: int) -> None:
    """Count in the outcome's hour, in equal parts for the pages that earned it."""
    hour = outcome.ts // HOUR_MS
    if not by:
        cells[Cell(hour, NOT_RECOMMENDED, counter)] += total
        return
    for (page, _), part in zip(by, shares(total, len(by)), strict=True):
        cells[Cell(hour, page.dims, counter)] += part


def _order_of(line: Outcome) -> str:
    return f"o{line.order_id}" if line.order_id is not None else f"e{line.event_id}"


def line_of(back: Outcome, bought: list[Outcome]) -> Outcome | None:
    """Return the purchase that a return takes back: the newest one before it, of its order where both name one."""
    lines = [
        line
        for line in bought
        if line.ts <= back.ts and (None in (line.order_id, back.order_id) or line.order_id == back.order_id)
    ]
    return max(lines, key=lambda line: (line.ts, line.event_id), default=None)


def _is_bought(cart: Outcome, bought: list[Outcome], rules: CreditRules) -> bool:
    return any(0 <= line.ts - cart.ts <= rules.purchase_ms for line in bought)
