"""Pages of an experiment as what was drawn and what it earned: rows of a bandit's log, credits of interleaving. Pure.

A page earns by the clicks that attribution credits it with, by the rules of its figures. The order of facts and
repeats change nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from attribution.credit import CreditRules, Shown
from attribution.facts import CLICK, Fact, Outcome, Page
from attribution.participants import UnitOf

COLUMNS: Final = ("action", "reward", "propensity", "device", "returning", "region", "unit", "page", "at_ms")


class DrawnPage(NamedTuple):
    """A page whose variant was drawn: `reward` is 1 where it was clicked."""

    action: str
    reward: int
    propensity: float
    device: str
    returning: str
    region: str
    unit: str
    page: str
    at_ms: int


class Credit(NamedTuple):
    """Items that a unit clicked on interleaved pages: those of the second of two variants less those of the first."""

    first: str
    second: str
    credit: int


@dataclass(slots=True)
class _Own:
    pages: dict[str, Page] = field(default_factory=dict)
    clicks: dict[str, Outcome] = field(default_factory=dict)


def drawn_pages(facts: Iterable[Fact], experiment: str, rules: CreditRules, *, unit: UnitOf) -> list[DrawnPage]:
    """Return the pages of an experiment that say with which probability they were drawn, by unit and time."""
    found: list[DrawnPage] = []
    for name, own in _units(facts, unit):
        clicked = {page.page_id for page, _ in _clicked(own, rules)}
        found += [
            DrawnPage(
                action=page.dims.variant,
                reward=int(page.page_id in clicked),
                propensity=page.propensity,
                device=page.dims.device,
                returning=page.dims.returning,
                region=page.dims.region,
                unit=name,
                page=page.page_id,
                at_ms=page.ts,
            )
            for page in sorted(own.pages.values(), key=lambda page: (page.ts, page.page_id))
            if page.dims.experiment == experiment and page.propensity is not None
        ]
    return found


def credits_of(facts: Iterable[Fact], experiment: str, rules: CreditRules, *, unit: UnitOf) -> dict[str, Credit]:
    """Return the credit of each unit that was shown interleaved pages of an experiment. An item counts once a page.

    Of pages that were mixed of other two variants than the newest one, none count.
    """
    found: dict[str, tuple[_Own, list[Page]]] = {}
    for name, own in _units(facts, unit):
        pages = [page for page in own.pages.values() if page.dims.experiment == experiment and page.between is not None]
        if pages:
            found[name] = (own, pages)
    newest = max((page for _, pages in found.values() for page in pages), key=lambda page: page.ts, default=None)
    if newest is None or newest.between is None:
        return {}
    first, second = newest.between
    return {
        name: Credit(first, second, sum(2 * team - 1 for team in _teams(own, pages, newest.between, rules)))
        for name, (own, pages) in found.items()
        if any(page.between == newest.between for page in pages)
    }


def _teams(own: _Own, pages: Iterable[Page], between: tuple[str, str], rules: CreditRules) -> list[int]:
    """Return the team of each item that was clicked on a page."""
    mine = {page.page_id for page in pages if page.between == between}
    clicked = {(page.page_id, position): page for page, position in _clicked(own, rules) if page.page_id in mine}
    return [page.teams[position - 1] for (_, position), page in clicked.items()]


def _clicked(own: _Own, rules: CreditRules) -> Iterator[tuple[Page, int]]:
    """Yield the pages that earn a click, with the item's position."""
    shown = Shown(own.pages, (one.item for one in own.clicks.values()))
    for click in own.clicks.values():
        yield from shown.earning(click, rules)


def _units(facts: Iterable[Fact], unit: UnitOf) -> list[tuple[str, _Own]]:
    units: dict[str, _Own] = defaultdict(_Own)
    for fact in facts:
        name = fact.session_id if unit == "session" else fact.user_id
        if name is None:
            continue
        if isinstance(fact.what, Page):
            units[name].pages.setdefault(fact.what.page_id, fact.what)
        elif isinstance(fact.what, Outcome) and fact.what.kind == CLICK:
            units[name].clicks.setdefault(fact.what.event_id, fact.what)
    return sorted(units.items())
