"""What a shop gets on its first day: nobody has clicked anything yet. COMMAND, below, runs it.

The synthetic shop's catalogue, no trends, no ended sessions. Drawn sessions are asked after each of their clicks for a
page of 20; a hit is the item clicked next, new to the session. Three pipelines answer: without a model, with the
general model, and with the model and re-ranker trained for this shop, which know what its visitors click.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from contracts.events import EVENT_CODES, Event
from contracts.ids import item_key
from contracts.items import CatalogueRow
from contracts.sessions import CLICK, Clicks, Session
from nextclick.bench.report import BenchRow, expect_bench, finish
from nextclick.stack.shop_models import ARTIFACTS
from replay.synthetic.shop import Shop, default_shop
from replay.synthetic.shoppers import FIRST_DAY_MS, shoppers
from rerank.pipeline import Pipeline, Query
from rerank.ranker import Ranker
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.serving_state import ServingState
from retrieval.trend_columns import TrendColumns
from session_model.encoder import SessionEncoder
from session_model.general import general_encoder, general_tower
from session_model.item_tower import ItemTower

COMMAND = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m nextclick.bench.day_one"
NAME = "day-one"
SESSIONS = 400
SEED = 18
PAGE = 20
_BATCH = 32


class Case(NamedTuple):
    """A session so far, and the item that it clicks next."""

    window: Clicks
    target: str


def cases_of(events: Sequence[Event]) -> list[Case]:
    """Return a case for each click on an item that its session had not clicked."""
    sessions: dict[str, list[Event]] = {}
    cases: list[Case] = []
    for event in events:
        if event.item_id is None:
            continue
        before = sessions.setdefault(event.session_id, [])
        if before and event.item_id not in {one.item_id for one in before}:
            window = np.zeros(len(before), CLICK)
            window["item"] = [item_key(str(one.item_id)) for one in before]
            window["ts_ms"] = [one.ts for one in before]
            window["code"] = [EVENT_CODES[one.type] for one in before]
            cases.append(Case(window, event.item_id))
        before.append(event)
    return cases


def pipeline_of(
    shop: Shop, tower: ItemTower | None, encoder: SessionEncoder | None, ranker: Ranker | None = None
) -> Pipeline:
    """Return the pipeline over a catalogue that nobody has clicked in."""
    version = tower.version if tower is not None else 0
    catalogue = CatalogueColumns(model_version=version, dim=tower.dim if tower is not None else 0)
    names, items = [name for name, _ in shop.items], [item for _, item in shop.items]
    vectors = (
        [b""] * len(names) if tower is None else [one.astype("<f4").tobytes() for one in tower.embed(names, items)[0]]
    )
    catalogue.apply(
        (item_key(name), CatalogueRow(name, item, 100, FIRST_DAY_MS, version, vector))
        for name, item, vector in zip(names, items, vectors, strict=True)
    )
    index = AnnIndex(catalogue)
    index.rebuild()
    return Pipeline(ServingState(catalogue, index, TrendColumns()), encoder, ranker)


def pages_of(pipeline: Pipeline, cases: Sequence[Case]) -> list[list[str]]:
    """Return the page of each case."""
    pages: list[list[str]] = []
    for at in range(0, len(cases), _BATCH):
        queries = [_query(case.window) for case in cases[at : at + _BATCH]]
        pages += [[one.item_id for one in answer.items] for answer in pipeline.recommend(queries)]
    return pages


def _query(window: Clicks) -> Query:
    at_ms = int(window["ts_ms"][-1])
    nothing = np.zeros(0, np.float32)
    session = Session("s", None, int(window["ts_ms"][0]), at_ms, len(window), 0, window, nothing, 0)
    return Query(at_ms, session=session, limit=PAGE)


def figures(
    name: str, cases: Sequence[Case], pages: Sequence[list[str]], category: Mapping[str, str]
) -> list[BenchRow]:
    """Return hit rate and MRR of next items, and how much of a page is of the category clicked last."""
    by_key = {int(item_key(item_id)): path for item_id, path in category.items()}
    reciprocal: list[float] = []
    alike: list[float] = []
    for case, page in zip(cases, pages, strict=True):
        reciprocal.append(1 / (page.index(case.target) + 1) if case.target in page else 0.0)
        last = by_key[int(case.window["item"][-1])]
        alike.append(sum(category[item_id] == last for item_id in page) / max(1, len(page)))
    return [
        BenchRow(f"{name}: hit rate @{PAGE}", float(np.mean(np.array(reciprocal) > 0)), "share", better="higher"),
        BenchRow(f"{name}: MRR @{PAGE}", float(np.mean(reciprocal)), "", better="higher"),
        BenchRow(f"{name}: of the category clicked last", float(np.mean(alike)), "share", better="higher"),
    ]


def main() -> None:
    """Run the benchmark."""
    expect_bench(NAME)
    shop = default_shop()
    cases = cases_of(list(shoppers(shop, SESSIONS, np.random.default_rng(SEED), name="day-one")))
    category = {item_id: item.category for item_id, item in shop.items}
    folder = ARTIFACTS / "session_model"
    trained = SessionEncoder.load(folder)
    rows = [BenchRow("cases", len(cases), "events")]
    for name, tower, encoder, ranker in (
        ("no model", None, None, None),
        ("general model", general_tower(), general_encoder(), None),
        ("trained, no re-ranker", ItemTower.load(folder), trained, None),
        ("trained", ItemTower.load(folder), trained, Ranker.load(ARTIFACTS / "reranker")),
    ):
        pipeline = pipeline_of(shop, tower, encoder, ranker)
        rows += figures(name, cases, pages_of(pipeline, cases), category)
        first = [case for case in cases if len(case.window) == 1]
        rows += figures(f"{name}, after one click", first, pages_of(pipeline, first), category)
    finish(NAME, rows, COMMAND)


if __name__ == "__main__":
    main()
