"""Participants: the units of an experiment, a row each, as `nextclick experiment report` reads them. Pure.

One counting (`row_of`) makes the rows of the attribution flow, which grow as events come, and those of a reading of the
whole log.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from msgspec.structs import replace

from attribution.credit import CreditRules, Shown
from attribution.facts import CART, CLICK, KEY_BYTES, PURCHASE, RETURN, SCALE, Fact, Outcome, Page
from attribution.rows import SWITCHED, Row, Rows
from attribution.units import Unit

UnitOf = Literal["session", "user"]
MOST_PAST: Final = 20
"""Experiments of which a unit keeps what is too old for facts."""
COLUMNS: Final = (
    "unit",
    "variant",
    "device",
    "region",
    "pages",
    "shown",
    "clicks",
    "carts",
    "purchases",
    "orders",
    "revenue",
)


class Participant(NamedTuple):
    """A unit from its first page of the experiment on. `clicks` came from its pages; carts, purchases, orders and
    revenue (less returns, in units of the currency) are all that it did: who buys what a list did not show buys too.
    """

    unit: str
    variant: str
    device: str
    region: str
    pages: int
    shown: int
    clicks: int
    carts: int
    purchases: int
    orders: int
    revenue: float


@dataclass(frozen=True, slots=True)
class Participants:
    """Rows, and what takes no part: units that were seen in several variants, that were held out, that are testers;
    `currencies`: what the money was in. Only of the first is revenue counted.
    """

    rows: list[Participant]
    switched: int
    held_out: int
    testers: int
    currencies: Sequence[str]


@dataclass(slots=True)
class _Own:
    pages: dict[str, Page] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)


def participants(
    facts: Iterable[Fact],
    experiment: str,
    rules: CreditRules,
    *,
    unit: UnitOf = "session",
    holdout: str = "holdout",
    testers: Collection[str] = (),
) -> Participants:
    """Return the units of an experiment. Repeated events count once; the order of facts does not matter."""
    units: dict[str, _Own] = defaultdict(_Own)
    for fact in facts:
        name = fact.session_id if unit == "session" else fact.user_id
        if name is None:
            continue
        if isinstance(fact.what, Page):
            units[name].pages.setdefault(fact.what.page_id, fact.what)
        elif isinstance(fact.what, Outcome):
            units[name].outcomes.setdefault(fact.what.event_id, fact.what)
    found = ((name, row_of(own.pages, own.outcomes, experiment, rules)) for name, own in units.items())
    return tabled({name: row for name, row in found if row is not None}, holdout=holdout, testers=testers)


def tabled(
    rows: Rows, *, holdout: str = "holdout", testers: Collection[str] = (), since_ms: int | None = None
) -> Participants:
    """Return rows as a table, by unit. Those that begin before `since_ms` are of an earlier run, and left out."""
    kept = {name: row for name, row in rows.items() if since_ms is None or row.first_ms >= since_ms}
    lines = Counter[str]()
    for row in kept.values():
        lines.update({currency: count for currency, (count, _) in row.money.items()})
    currencies = sorted(lines, key=lambda name: (-lines[name], name))
    found, left = list[Participant](), Counter[str]()
    for name in sorted(kept):
        row = kept[name]
        if name in testers:
            left["testers"] += 1
        elif row.variant == SWITCHED:
            left["switched"] += 1
        elif row.variant == holdout:
            left["held_out"] += 1
        else:
            found.append(_participant(name, row, currencies[0] if currencies else ""))
    return Participants(found, left["switched"], left["held_out"], left["testers"], currencies)


def rows_of(unit: Unit, rules: CreditRules) -> dict[str, Row]:
    """Return a unit's row of each experiment that its pages are of."""
    did = unit.did
    found = {name: row_of(unit.pages, did, name, rules, unit.past.get(name)) for name in _experiments(unit)}
    return {name: row for name, row in found.items() if row is not None}


def past_of(old: Unit, kept: Unit, rules: CreditRules) -> dict[str, Row]:
    """Return what a unit did in experiments that `kept` does not hold fact by fact any more, as `old` does."""
    if kept is old:
        return old.past
    did, still = old.did, kept.did
    pages = {name: page for name, page in old.pages.items() if name not in kept.pages}
    outcomes = {name: outcome for name, outcome in did.items() if name not in still}
    if not pages and not outcomes:
        return old.past
    past = dict(old.past)
    for name in _experiments(old):
        row = row_of(pages, outcomes, name, rules, past.get(name))
        if row is not None and (name in past or len(past) < MOST_PAST):
            past[name] = row
    return past


def _experiments(unit: Unit) -> list[str]:
    return sorted(({page.dims.experiment for page in unit.pages.values()} | unit.past.keys()) - {""})


def row_of(
    pages: Mapping[str, Page],
    outcomes: Mapping[str, Outcome],
    experiment: str,
    rules: CreditRules,
    past: Row | None = None,
) -> Row | None:
    """Return what a unit did in an experiment from its first page of it on, after what it did in the `past`; None for
    one that was never shown such a page.
    """
    in_it = [page for page in pages.values() if page.dims.experiment == experiment]
    if not in_it:
        return past if past is None else past.plus(_row(past, [], pages, outcomes, rules))
    first = min(in_it, key=lambda page: (page.ts, page.page_id))
    variants = {page.dims.variant for page in in_it}
    begun = Row(first.dims.variant if len(variants) == 1 else SWITCHED, first.dims.device, first.dims.region, first.ts)
    if past is None:
        return _row(begun, in_it, pages, outcomes, rules)
    return past.plus(_row(replace(begun, first_ms=past.first_ms), in_it, pages, outcomes, rules))


def _row(
    begun: Row, in_it: Sequence[Page], pages: Mapping[str, Page], outcomes: Mapping[str, Outcome], rules: CreditRules
) -> Row:
    mine = {page.page_id for page in in_it}
    since = [one for one in outcomes.values() if one.ts >= begun.first_ms]
    clicks = [one for one in outcomes.values() if one.kind == CLICK]
    shown = Shown(pages, (one.item for one in clicks))
    bought = [one for one in since if one.kind == PURCHASE]
    return Row(
        variant=begun.variant,
        device=begun.device,
        region=begun.region,
        first_ms=begun.first_ms,
        pages=len(in_it),
        shown=sum(len(page.items) // KEY_BYTES for page in in_it),
        clicks=sum(any(page.page_id in mine for page, _ in shown.earning(one, rules)) for one in clicks),
        carts=sum(one.kind == CART for one in since),
        purchases=len(bought),
        orders=len({one.order_id or f"event {one.event_id}" for one in bought}),
        money=_money(since),
    )


def _money(since: Sequence[Outcome]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for one in since:
        if one.money is not None and one.kind in (PURCHASE, RETURN):
            lines, total = found.get(one.currency, (0, 0))
            found[one.currency] = (lines + 1, total + (one.money if one.kind == PURCHASE else -one.money))
    return found


def _participant(name: str, row: Row, currency: str) -> Participant:
    return Participant(
        unit=name,
        variant=row.variant,
        device=row.device,
        region=row.region,
        pages=row.pages,
        shown=row.shown,
        clicks=row.clicks,
        carts=row.carts,
        purchases=row.purchases,
        orders=row.orders,
        revenue=row.money.get(currency, (0, 0))[1] / SCALE,
    )
