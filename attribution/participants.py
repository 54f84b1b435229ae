"""Participants: the units of an experiment, a row each, as `nextclick experiment report` reads them. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from attribution.credit import CreditRules, Shown
from attribution.facts import CART, CLICK, PURCHASE, RETURN, SCALE, Fact, Outcome, Page

UnitOf = Literal["session", "user"]
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
    money = Counter(
        one.currency for own in units.values() for one in own.outcomes.values() if one.money is not None
    ).most_common()
    currencies = [name for name, _ in sorted(money, key=lambda one: (-one[1], one[0]))]
    rows, left = list[Participant](), Counter[str]()
    for name in sorted(units):
        own = units[name]
        in_it = [page for page in own.pages.values() if page.dims.experiment == experiment]
        variants = {page.dims.variant for page in in_it}
        if not in_it:
            continue
        if name in testers:
            left["testers"] += 1
        elif len(variants) > 1:
            left["switched"] += 1
        elif variants == {holdout}:
            left["held_out"] += 1
        else:
            rows.append(_row(name, own, in_it, rules, currencies[0] if currencies else ""))
    return Participants(rows, left["switched"], left["held_out"], left["testers"], currencies)


def _row(name: str, own: _Own, in_it: Sequence[Page], rules: CreditRules, currency: str) -> Participant:
    first = min(in_it, key=lambda page: (page.ts, page.page_id))
    mine = {page.page_id for page in in_it}
    since = [one for one in own.outcomes.values() if one.ts >= first.ts]
    bought = [one for one in since if one.kind == PURCHASE]
    paid = sum(one.money or 0 for one in bought if one.currency == currency)
    back = sum(one.money or 0 for one in since if one.kind == RETURN and one.currency == currency)
    clicks = [one for one in own.outcomes.values() if one.kind == CLICK]
    shown = Shown(own.pages, (one.item for one in clicks))
    return Participant(
        unit=name,
        variant=first.dims.variant,
        device=first.dims.device,
        region=first.dims.region,
        pages=len(in_it),
        shown=sum(len(page.items) // 8 for page in in_it),
        clicks=sum(any(page.page_id in mine for page, _ in shown.earning(one, rules)) for one in clicks),
        carts=sum(one.kind == CART for one in since),
        purchases=len(bought),
        orders=len({one.order_id or f"event {one.event_id}" for one in bought}),
        revenue=(paid - back) / SCALE,
    )
