"""What scenarios' pages are worth and what they are like: figures with intervals, and who was shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.scenarios import Limit
from evaluation import pages as of_pages
from evaluation.metrics import Ranks
from evaluation.next_item import ranks_of
from evaluation.paired import Difference, Figure, coverage_over, differences, gini_over, mean_over
from learning.scenario_pages import AskedPages
from rerank.scenarios.fields import RequestFrame
from rerank.scenarios.page import codes_of
from retrieval.catalogue import CatalogueColumns
from retrieval.item_fields import ITEM_FIELDS

Float64s = NDArray[np.float64]

UNITS: Final[Mapping[str, str]] = {
    "hit_rate": "share of pages that show the next click",
    "mrr": "mean reciprocal rank of the next click",
    "map": "mean average precision over what the visit clicks later",
    "hit_price": "price of the next clicks shown, of 1,000 pages",
    "hit_margin": "their margin, of 1,000 pages",
    "bought_price": "price of what the visit buys later and the page shows, of 1,000 pages",
    "page_price": "mean price of what is shown",
    "page_margin": "mean margin (share of the price) of what is shown",
    "filled": "share of the page that is filled",
    "diversity": "mean of 1 - cosine between two items of a page",
    "coverage": "share of the catalogue that is shown to anybody",
    "novelty": "mean of -log2 of an item's share of clicks, bits",
    "serendipity": "share of items that the visit clicks later and that are none of the most popular",
    "gini_supplier": "Gini of exposure by supplier: 0 all alike, towards 1 all one's",
    "gini_price_band": "Gini of exposure by price band",
}
"""Every figure, in the order shown, and what it is."""
PER_PAGES: Final = 1000.0
_NO_ITEM: Final = -1


@dataclass(frozen=True)
class Judged:
    """The figures of one scenario's pages."""

    asked: AskedPages
    number: int
    """Which scenario of those asked."""
    limit: int

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Every figure by name, as functions of how often each page counts."""
        pages, means = self.asked.pages[self.number], self.per_page
        found = {name: mean_over(values) for name, values in means.items()}
        found["coverage"] = coverage_over(pages, self.asked.catalogue.count)
        for name, field in (("gini_supplier", "supplier"), ("gini_price_band", "price_band")):
            groups, count = group_codes(self.asked.catalogue, field)
            found[name] = gini_over(of_pages.exposure(pages, groups, count))
        return {name: found[name] for name in UNITS}

    @cached_property
    def per_page(self) -> dict[str, Float64s]:
        """Figures that each page has of its own, (c,)."""
        asked, pages, catalogue = self.asked, self.asked.pages[self.number], self.asked.catalogue
        ranks, n = ranks_of(pages, _never_missing(asked.target)), catalogue.count
        price, margin = catalogue.price[:n].astype(np.float64), catalogue.margin[:n].astype(np.float64)
        has_price, has_margin = bool((~np.isnan(price)).any()), bool((~np.isnan(price * margin)).any())
        is_target = pages == _never_missing(asked.target)[:, None]
        is_bought = of_pages.among(pages, asked.bought)
        buys = bool((asked.bought >= 0).any())
        vectors = np.where(catalogue.has_vector[:n, None], catalogue.vectors[:n], 0.0).astype(np.float32)
        popular = np.argsort(-asked.clicks, kind="stable")[: self.limit].astype(np.int32)
        return {
            "hit_rate": (ranks > 0).astype(np.float64),
            "mrr": _reciprocal(ranks),
            "map": of_pages.average_precision(pages, asked.later),
            "hit_price": _told(has_price, PER_PAGES * of_pages.total_of(pages, is_target, price)),
            "hit_margin": _told(has_margin, PER_PAGES * of_pages.total_of(pages, is_target, price * margin)),
            "bought_price": _told(has_price and buys, PER_PAGES * of_pages.total_of(pages, is_bought, price)),
            "page_price": of_pages.mean_of(pages, price),
            "page_margin": of_pages.mean_of(pages, margin),
            "filled": (pages >= 0).sum(axis=1) / self.limit,
            "diversity": of_pages.diversity(pages, vectors),
            "novelty": of_pages.novelty(pages, asked.clicks),
            "serendipity": of_pages.serendipity(pages, asked.later, popular),
        }

    @cached_property
    def values(self) -> dict[str, float]:
        """Every figure's value; NaN for one that cannot be told."""
        once = np.ones((1, len(self.asked.session)))
        return {name: float(figure(once)[0]) for name, figure in self.figures.items()}

    def frames(self) -> list[RequestFrame]:
        """Return each page as expressions read it: its items, and the request that it answers."""
        pages, queries = self.asked.pages[self.number], self.asked.queries[self.number]
        return [
            RequestFrame(self.asked.catalogue, page[page >= 0], query)
            for page, query in zip(pages, queries, strict=True)
        ]

    def shown_on(self, page: int) -> list[str]:
        """Return the ids of a page's items."""
        return [self.asked.catalogue.item_ids[row] for row in self.asked.pages[self.number][page].tolist() if row >= 0]

    def visit_of(self, page: int) -> str:
        """Return the session that a page was asked for."""
        session = self.asked.queries[self.number][page].session
        return "" if session is None else session.session_id

    def shown_by(self, field: str) -> dict[str, int]:
        """Return how many items of each supplier or price band were shown, the most shown first."""
        groups, count = group_codes(self.asked.catalogue, field)
        totals = of_pages.exposure(self.asked.pages[self.number], groups, count).sum(axis=0).astype(int)
        named = group_names(self.asked.catalogue, field)
        found = {named[at]: int(totals[at]) for at in np.argsort(-totals, kind="stable").tolist() if totals[at]}
        return found


def compared(old: Judged, new: Judged, *, seed: int) -> dict[str, Difference]:
    """Return every figure of both, and new - old with its paired interval."""
    found = differences(
        list(old.figures.values()), list(new.figures.values()), old.asked.session, np.random.default_rng(seed)
    )
    return dict(zip(UNITS, found, strict=True))


@dataclass(frozen=True, slots=True)
class Exposure:
    """How often a supplier's items were shown under both scenarios, and its share of all that were."""

    name: str
    old: int
    new: int
    old_share: float
    new_share: float

    @property
    def fate(self) -> str:
        """`gained`: only the new scenario shows it; `lost`: only the old one; else empty."""
        return "gained" if not self.old else "lost" if not self.new else ""


def exposures(old: Judged, new: Judged, field: str = "supplier") -> list[Exposure]:
    """Return every supplier that either shows: first what is gained or lost, then by how much its share changed."""
    before, after = old.shown_by(field), new.shown_by(field)
    all_before, all_after = max(1, sum(before.values())), max(1, sum(after.values()))
    found = [
        Exposure(name, a := before.get(name, 0), b := after.get(name, 0), a / all_before, b / all_after)
        for name in {**before, **after}
    ]
    return sorted(found, key=lambda one: (not one.fate, -abs(one.new_share - one.old_share), one.name))


def group_codes(catalogue: CatalogueColumns, field: str) -> tuple[NDArray[np.int64], int]:
    """Return each row's supplier or price band (n,), -1 where it has none, and how many of them the catalogue has."""
    rows = np.arange(catalogue.count, dtype=np.int32)
    codes = codes_of(catalogue, Limit.model_validate({"field": field, "most": 1}), rows)
    known = np.unique(codes[codes > 0])
    found = np.where(codes > 0, np.searchsorted(known, codes), _NO_ITEM)
    return found.astype(np.int64), len(known)


def group_names(catalogue: CatalogueColumns, field: str) -> list[str]:
    """Return the names of `group_codes`: of a price band its lowest and highest price."""
    groups, count = group_codes(catalogue, field)
    first = [int(np.flatnonzero(groups == code)[0]) for code in range(count)]
    if field == "supplier":
        assert field in ITEM_FIELDS
        return [catalogue.documents[row].supplier or "" for row in first]
    ends = [np.floor(2 * np.log2(float(catalogue.price[row]))) / 2 for row in first]
    return [f"{2.0**low:,.2f} to {2.0 ** (low + 0.5):,.2f}" for low in ends]


def _never_missing(target: NDArray[np.int32]) -> NDArray[np.int32]:
    """An item that the catalogue does not have stands on no page: -1 would be the end of a short one."""
    return np.where(target < 0, np.int32(-2), target)


def _reciprocal(ranks: Ranks) -> Float64s:
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)


def _told(can_be: bool, values: Float64s) -> Float64s:
    return values if can_be else np.full(len(values), np.nan)
