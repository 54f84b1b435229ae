"""Random requests over random shops: with and without vectors, trends and ended sessions, known and unknown items."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from contracts.codec import TREND_COUNTS, EndedSession, ItemTrend, ShowingBlock
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.sessions import Session
from rerank.features import Inputs
from rerank.query import Query
from rerank.session_vector import contexts_of
from retrieval.ann_index import AnnIndex
from retrieval.candidates import gather
from retrieval.catalogue import CatalogueColumns
from retrieval.ended_sessions import Slot
from retrieval.serving_state import ServingState
from retrieval.session_columns import SessionColumns
from retrieval.sources import SourceSettings
from retrieval.trend_columns import TrendColumns
from tests.rerank.shop import DIM, MODEL, NOW, encoder, session

EVENT_CODES = 4


def random_inputs(seed: int) -> Iterator[Inputs]:
    """Yield what blocks compute from, of a few batches that have candidates, in one random shop."""
    random = np.random.default_rng(seed)
    state, item_ids, with_vectors = random_shop(random)
    catalogue = state.catalogue
    for _ in range(4):
        visitors = [random_visitor(random, item_ids) for _ in range(int(random.choice([1, 2, 8])))]
        pages = [str(random.choice(item_ids)) if random.random() < 0.2 else None for _ in visitors]
        queries = [
            Query(NOW + int(random.integers(0, 10**6)), session=visitor, item_id=page)
            for visitor, page in zip(visitors, pages, strict=True)
        ]
        contexts = contexts_of(queries, catalogue, encoder() if with_vectors else None)
        names = list(SourceSettings.model_fields)
        sizes = dict(zip(names, random.choice([0, 3, 20], len(names)).tolist(), strict=True))
        candidates = gather(contexts, state, SourceSettings(**sizes))
        if len(candidates):
            yield Inputs(contexts, candidates, state)


def random_shop(random: np.random.Generator) -> tuple[ServingState, list[str], bool]:
    """Return a shop, the ids of its items, and whether any of them has a vector."""
    item_ids = [f"i{number}" for number in range(int(random.choice([2, 30, 120])))]
    with_vectors = random.random() < 0.75
    catalogue = _catalogue(random, item_ids, with_vectors)
    index = AnnIndex(catalogue)
    index.rebuild()
    trends = _trends(random, item_ids) if random.random() < 0.8 else TrendColumns()
    ended = _ended(random, item_ids) if random.random() < 0.7 else SessionColumns()
    return ServingState(catalogue, index, trends, ended), item_ids, with_vectors


def _catalogue(random: np.random.Generator, item_ids: list[str], with_vectors: bool) -> CatalogueColumns:
    catalogue = CatalogueColumns()
    if with_vectors:
        catalogue.expect(MODEL, DIM)
    for item_id in item_ids:
        vector = random.normal(size=DIM)
        raw = (
            (vector / np.linalg.norm(vector)).astype("<f4").tobytes() if with_vectors and random.random() < 0.8 else b""
        )
        item = Item(
            title=item_id,
            category=str(random.choice(["", "a/b", "a/c", "d"])),
            brand=str(random.choice(["", "x", "y"])),
            price=float(random.choice([0, 0, 5, 7.5, 100])),
            margin=None if random.random() < 0.3 else float(random.random()),
            min_age=None if random.random() < 0.5 else int(random.choice([16, 18])),
            regions=None if random.random() < 0.5 else ["DE"],
        )
        created_ms = NOW - int(random.choice([10**6, 10**8, 10**9]) * random.random())
        row = CatalogueRow(item_id, item, int(random.integers(0, 9)), created_ms, MODEL if raw else 0, raw)
        catalogue.apply([(item_key(item_id), row)])
    return catalogue


def _trends(random: np.random.Generator, item_ids: list[str]) -> TrendColumns:
    trends = TrendColumns()
    keys = np.array([item_key(item_id) for item_id in [*item_ids, "gone"]], np.uint64)
    for item_id in item_ids:
        k, popularity = int(random.integers(0, min(len(keys), 20))), float(random.pareto(1.2) * 5 + 0.1)
        weights = np.stack(
            [np.sort(random.gamma(1, 2, k))[::-1], random.gamma(1, 1, k), random.gamma(0.1, 1, k)], axis=1
        )
        weights[:, 2] *= random.random(k) < 0.5
        counts = {name: popularity * float(random.choice([0, 0.02, 1])) for name in TREND_COUNTS}
        counts |= {"popularity": popularity}
        trend = ItemTrend(
            as_of_ms=NOW - int(random.integers(0, 10**7)),
            **counts,
            neighbours=random.choice(keys, k, replace=False),
            weights=weights.astype(np.float32),
            origin_counts=tuple(float(count) for count in random.integers(0, 30, 4)),  # type: ignore[arg-type]
        )
        if random.random() < 0.8:
            trends.apply([(ItemKey(item_key(item_id)), trend)])
    shown = random.choice([0, 20, 300], len(keys)).astype(np.float32)
    trends.apply_showings([(0, ShowingBlock(keys, shown, (shown * random.random(len(keys)) / 10).astype(np.float32)))])
    return trends


def _ended(random: np.random.Generator, item_ids: list[str]) -> SessionColumns:
    ended = SessionColumns()
    keys = np.array([item_key(item_id) for item_id in item_ids], np.uint64)
    ended.apply(
        (
            Slot(slot),
            EndedSession(NOW - int(random.integers(0, 10**8)), random.choice(keys, int(random.integers(2, 15)))),
        )
        for slot in range(int(random.integers(1, 300)))
    )
    return ended


def random_visitor(random: np.random.Generator, item_ids: list[str]) -> Session | None:
    """Return a session of one to 25 clicks, or nobody."""
    if random.random() < 0.15:
        return None
    few = [*random.choice(item_ids, min(len(item_ids), int(random.integers(1, 6)))), "unknown"]
    clicks = int(random.choice([1, 2, 3, 8, 25]))
    found = session(*(str(name) for name in random.choice(few, clicks)))
    found.window["code"] = random.integers(1, EVENT_CODES, clicks)
    found.window["ts_ms"] = np.sort(NOW - random.integers(0, 10**6, clicks))
    return found
