"""What a visitor's region says before the first click, and what it costs. COMMAND, below, runs it.

The synthetic shop. A visit's region goes by what it came for: with `bias` 0.8, visits for one half of the categories
come from the north in 8 of 10 cases, those for the other half from the south. A second load has no such bias: there
is nothing to learn. The first half of the visits is counted alone; before each later one a page of 20 is asked for, by
a visitor of whom nothing but the region is known, and by one of whom nothing is. A hit is the item clicked first.
Costs are processor time, in pairs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from contracts.events import Event
from contracts.ids import item_key
from contracts.items import CatalogueRow
from contracts.settings import SessionSettings
from nextclick.bench.report import BenchRow, expect_bench, finish
from replay.synthetic.shop import Shop, default_shop
from replay.synthetic.shoppers import FIRST_DAY_MS, shoppers
from rerank.pipeline import Pipeline, Query
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.groups import groups_of
from retrieval.open_sessions import OpenSessions, TrendEvent
from retrieval.serving_state import ServingState
from retrieval.trend_columns import TrendColumns
from retrieval.trend_counts import TrendCounts
from retrieval.trend_updates import updates_of
from retrieval.trends import TrendRules

COMMAND = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m nextclick.bench.cold_start"
NAME = "cold-start"
VISITS = 12_000
SEED = 18
PAGE = 20
ROUNDS = 400
REGIONS: Final = ("north", "south")
_ROWS_EVERY = 500
_BATCH = 32


def with_regions(shop: Shop, events: Sequence[Event], bias: float, rng: np.random.Generator) -> list[Event]:
    """Return visits whose region goes by the category of their first click: with probability `bias` the one of it."""
    category = {item_id: item.category for item_id, item in shop.items}
    half = {path: at % 2 for at, path in enumerate(sorted(set(category.values())))}
    regions: dict[str, str] = {}
    found = []
    for event in events:
        if event.session_id not in regions:
            own = half[category[str(event.item_id)]]
            regions[event.session_id] = REGIONS[own if rng.random() < bias else 1 - own]
        context = {"region": regions[event.session_id]}
        found.append(event.model_copy(update={"context": context}))
    return found


@dataclass
class Counted:
    """A shop without a model, and its trends as a gateway would hold them after some events."""

    shop: Shop
    trends: TrendColumns = field(default_factory=TrendColumns)
    pipeline: Pipeline = field(init=False)
    _open: OpenSessions = field(init=False)
    _counts: TrendCounts = field(init=False)

    def __post_init__(self) -> None:
        rules = TrendRules()
        self._open, self._counts = OpenSessions(rules, SessionSettings().idle_gap_ms), TrendCounts(rules)
        catalogue = CatalogueColumns()
        catalogue.apply(
            (item_key(name), CatalogueRow(name, item, 100, FIRST_DAY_MS, 0, b"")) for name, item in self.shop.items
        )
        index = AnnIndex(catalogue)
        index.rebuild()
        self.pipeline = Pipeline(ServingState(catalogue, index, self.trends))

    def take(self, events: Sequence[Event]) -> None:
        """Count events, and hand on the rows that moved."""
        self._open.take([(event.session_id, TrendEvent.of(event)) for event in events])
        self._counts.apply(updates_of(self._open.clicks()))
        rows = self._counts.changed_rows()
        self.trends.apply_rows(list(zip(rows.keys.tolist(), rows.encoded(), strict=True)))

    def pages(self, visits: Sequence[Event], *, knows_region: bool) -> Iterator[list[str]]:
        """Yield the page of each visit as it begins."""
        for at in range(0, len(visits), _BATCH):
            queries = [
                Query(one.ts, limit=PAGE, groups=groups_of(**_context(one)) if knows_region else ())
                for one in visits[at : at + _BATCH]
            ]
            yield from ([item.item_id for item in answer.items] for answer in self.pipeline.recommend(queries))


def _context(event: Event) -> Mapping[str, Any]:
    return event.context or {}


def hits(shop: Shop, events: Sequence[Event]) -> tuple[np.ndarray, Counted]:
    """Return reciprocal ranks of first clicks (v, 2), by the region and without it, and the shop at the end."""
    counted, seen = Counted(shop), set[str]()
    found: list[tuple[float, float]] = []
    for at in range(0, len(events), _ROWS_EVERY):
        some = events[at : at + _ROWS_EVERY]
        begins = list({one.session_id: one for one in reversed(some) if one.session_id not in seen}.values())
        seen.update(one.session_id for one in begins)
        if 2 * at > len(events):
            by = [list(counted.pages(begins, knows_region=knows)) for knows in (True, False)]
            for one, here, anywhere in zip(begins, *by, strict=True):
                item = str(one.item_id)
                found.append(
                    (
                        1 / (here.index(item) + 1) if item in here else 0.0,
                        1 / (anywhere.index(item) + 1) if item in anywhere else 0.0,
                    )
                )
        counted.take(some)
    return np.array(found), counted


def figures(name: str, ranks: np.ndarray) -> list[BenchRow]:
    """Return hit rates, MRR, and the change of the hit rate with its standard error."""
    change = (ranks[:, 0] > 0).astype(float) - (ranks[:, 1] > 0)
    rows = [BenchRow(f"{name}: visits asked for", len(ranks), "")]
    for at, how in enumerate(("popular here", "popular")):
        rows.append(BenchRow(f"{name}: {how}, hit rate @{PAGE}", float((ranks[:, at] > 0).mean()), "", better="higher"))
        rows.append(BenchRow(f"{name}: {how}, MRR @{PAGE}", float(ranks[:, at].mean()), "", better="higher"))
    rows.append(BenchRow(f"{name}: change of the hit rate", float(change.mean()), "", better="higher"))
    rows.append(BenchRow(f"{name}: its standard error", float(change.std() / np.sqrt(len(change))), ""))
    return rows


def costs(counted: Counted, events: Sequence[Event], rounds: int) -> list[BenchRow]:
    """Return what a region adds to a request without clicks, and to a click that is counted, in pairs."""
    last, added, clicks = events[-1], list[float](), list[float]()
    plain = [one.model_copy(update={"context": None}) for one in events[:_ROWS_EVERY]]
    for turn in range(-20, rounds):
        took: dict[bool, float] = {}
        for knows in (False, True) if turn % 2 else (True, False):
            query = Query(last.ts, limit=PAGE, groups=groups_of("north") if knows else ())
            began = time.thread_time_ns()
            counted.pipeline.recommend([query])
            took[knows] = (time.thread_time_ns() - began) / 1000
        if turn >= 0:
            added.append(took[True] - took[False])
    for turn in range(max(3, rounds // 20)):
        by = {}
        for knows in (False, True) if turn % 2 else (True, False):
            by[knows] = _click_us(events[:_ROWS_EVERY] if knows else plain)
        clicks.append(by[True] - by[False])
    return [
        BenchRow("added to a request without clicks by a region", float(np.median(added)), "us"),
        BenchRow("added to a counted click by a region", float(np.median(clicks)), "us"),
    ]


def _click_us(events: Sequence[Event]) -> float:
    """Return what it costs to count each of the events, and to hand on the rows that moved."""
    sessions, counts = OpenSessions(TrendRules(), SessionSettings().idle_gap_ms), TrendCounts(TrendRules())
    began = time.thread_time_ns()
    sessions.take([(event.session_id, TrendEvent.of(event)) for event in events])
    counts.apply(updates_of(sessions.clicks()))
    counts.changed_rows().encoded()
    return (time.thread_time_ns() - began) / 1000 / len(events)


def main() -> None:
    """Run the benchmark."""
    expect_bench(NAME)
    shop = default_shop()
    events = list(shoppers(shop, VISITS, np.random.default_rng(SEED), name="cold"))
    rows: list[BenchRow] = []
    for name, bias in (("two tastes", 0.8), ("one taste", 0.5)):
        regional = with_regions(shop, events, bias, np.random.default_rng(SEED))
        ranks, counted = hits(shop, regional)
        rows += figures(name, ranks)
    rows += costs(counted, regional, ROUNDS)
    finish(NAME, rows, COMMAND)


if __name__ == "__main__":
    main()
