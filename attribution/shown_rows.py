"""Rows of what was shown: each item of a page with what it earned. Pure: a visitor's pages and outcomes come in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from attribution.credit import CreditRules, Shown, line_of, shares
from attribution.facts import CART, CLICK, PURCHASE, RETURN, SCALE, Outcome, Page


class Logged(NamedTuple):
    """A page of a session, the ids of its items, the chance that its variant had, and where its record stands."""

    session_id: str
    page: Page
    item_ids: Sequence[str]
    propensity: float | None
    partition: int
    offset: int


class ShownRow(NamedTuple):
    """One item of one page. `clicked`, `carted` and `purchased` say how many of them it earned (parts, with linear
    touch); `value` is what was paid, returns subtracted, in `currency`; `margin` a share of the price.
    """

    request_id: str
    position: int
    item: str
    ts: int
    session_id: str
    user_id: str | None
    recommended: bool
    scenario: str
    version: str
    experiment: str
    variant: str
    propensity: float | None
    model: str
    rung: str
    device: str
    region: str
    returning: bool | None
    margin: float | None
    clicked: float
    carted: float
    purchased: float
    value: float
    currency: str | None
    log_partition: int
    log_offset: int


Earned = Mapping[tuple[str, int], Counter[str]]
"""What the position of a page earned: counts by kind and money by `:currency`, in ten-thousandths."""


def earned(pages: Mapping[str, Page], outcomes: Iterable[Outcome], rules: CreditRules) -> Earned:
    """Return what outcomes of one visitor count for, by page and position."""
    lines = list(outcomes)
    shown = Shown(pages, (one.item for one in lines))
    bought: dict[bytes, list[Outcome]] = defaultdict(list)
    for one in lines:
        if one.kind == PURCHASE:
            bought[one.item].append(one)
    found: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for one in lines:
        line = line_of(one, bought[one.item]) if one.kind == RETURN else None
        by = shown.earning(one if line is None else line, rules)
        if not by:
            continue
        sign = -1 if one.kind == RETURN else 1
        count, money = shares(SCALE, len(by)), shares(one.money or 0, len(by))
        for (page, position), part, paid in zip(by, count, money, strict=True):
            at = found[page.page_id, position]
            if one.kind in (CLICK, CART, PURCHASE):
                at[one.kind] += part
            if one.money is not None:
                at[f":{one.currency}"] += sign * paid
    return found


def rows_of(logged: Logged, earnings: Iterable[Earned]) -> Iterator[ShownRow]:
    """Yield the rows of a page, by position. `earnings` are those of its session, and of each user of it."""
    page, dims, every = logged.page, logged.page.dims, list(earnings)
    for position, item_id in enumerate(logged.item_ids, 1):
        got = Counter[str]()
        for one in every:
            got.update(one.get((page.page_id, position), {}))
        money = sorted((-abs(amount), name[1:], amount) for name, amount in got.items() if name[0] == ":")
        margin = page.margin_at(position)
        yield ShownRow(
            request_id=page.page_id,
            position=position,
            item=item_id,
            ts=page.ts,
            session_id=logged.session_id,
            user_id=page.user_id,
            recommended=dims.recommended == "yes",
            scenario=dims.scenario,
            version=dims.version,
            experiment=dims.experiment,
            variant=dims.variant,
            propensity=logged.propensity,
            model=dims.model,
            rung=dims.rung,
            device=dims.device,
            region=dims.region,
            returning={"yes": True, "no": False}.get(dims.returning),
            margin=None if margin is None else margin / SCALE,
            clicked=got[CLICK] / SCALE,
            carted=got[CART] / SCALE,
            purchased=got[PURCHASE] / SCALE,
            value=money[0][2] / SCALE if money else 0.0,
            currency=money[0][1] if money else None,
            log_partition=logged.partition,
            log_offset=logged.offset,
        )
