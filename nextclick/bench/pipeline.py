"""How long an answer takes inside the process. COMMAND, below, runs it.

A synthetic shop of each size, 128 dimensions, sessions of 1 to 12 clicks with stored embeddings, 20 items an answer,
150 trees of depth 6: the defaults. One core. Prints a table and writes build/bench/pipeline.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from contracts.codec import EndedSession, ItemTrend
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.sessions import CLICK, Session
from evaluation.machine import describe_machine
from nextclick.bench.report import BenchRow, expect_bench, write_bench
from rerank.features import FEATURES
from rerank.pipeline import Pipeline, Query
from rerank.query import PipelineSettings
from rerank.ranker import Ranker
from rerank.session_vector import contexts_of
from retrieval.ann_index import NO_FILTERS, AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.ended_sessions import Slot
from retrieval.serving_state import ServingState
from retrieval.session_columns import SessionColumns
from retrieval.sources import SOURCES, Batch, Rung
from retrieval.trend_columns import TrendColumns
from session_model.encoder import SessionEncoder
from session_model.memory import MEMORY_ARRAYS, Memory

COMMAND = "OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m nextclick.bench.pipeline"
DIM = 128
MODEL = 1
NOW = 1_800_000_000_000
CLUSTER = 50
SIZES = (6_000, 100_000)
ENDED = 200_000
"""Sessions that are over and vote."""
BATCHES = ((1, 1.5), (8, 0.5))
"""Queries in a batch, and the milliseconds a query that are the target."""
ROUNDS = 300
MEMORIES = (0, 64, 128)
"""Numbers in a session's memory; 0: none."""


def item_vectors(items: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Return unit vectors (items, d) in clusters of 50, as trained towers place them."""
    centres = random.normal(size=(-(-items // CLUSTER), DIM))
    vectors = np.repeat(centres, CLUSTER, axis=0)[:items] + 0.6 * random.normal(size=(items, DIM))
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def rows(vectors: NDArray[np.float32], random: np.random.Generator) -> Iterator[tuple[ItemKey, CatalogueRow]]:
    """Yield the catalogue's changes: one in twenty is out of stock, one in ten sold in some regions only."""
    for at, vector in enumerate(vectors):
        item = Item(
            title=f"Item {at}",
            category=f"top{at // CLUSTER % 20}/leaf{at // CLUSTER}",
            brand=f"brand{at % 97}",
            price=float(random.lognormal(3, 1)),
            regions=["DE", "FR"] if at % 10 == 0 else None,
        )
        stock = 0 if at % 20 == 7 else 100
        yield item_key(f"i{at}"), CatalogueRow(f"i{at}", item, stock, NOW - at * 1000, MODEL, vector.tobytes())


def trends_of(items: int, random: np.random.Generator) -> Iterator[tuple[ItemKey, ItemTrend]]:
    """Yield trends with 50 neighbours an item, most of them of its own cluster."""
    keys = np.array([item_key(f"i{at}") for at in range(items)], np.uint64)
    for at in range(items):
        near = (at // CLUSTER * CLUSTER + random.permutation(CLUSTER)[:40]) % items
        neighbours = keys[np.concatenate([near, random.integers(0, items, 10)])]
        after = np.sort(random.gamma(1.0, 2.0, 50))[::-1]
        weights = np.stack([after, random.gamma(1.0, 1.0, 50), random.gamma(0.1, 1.0, 50)], axis=1).astype(np.float32)
        popularity = float(random.pareto(1.2) * 5 + 5)
        yield (
            ItemKey(int(keys[at])),
            ItemTrend(NOW, popularity, popularity / 50, popularity, neighbours, weights),
        )


def ended_sessions(items: int, random: np.random.Generator) -> Iterator[tuple[Slot, EndedSession]]:
    """Yield sessions that are over, of two to eight items of one cluster, a few clusters far busier than others."""
    keys = np.array([item_key(f"i{at}") for at in range(items)], np.uint64)
    busy = np.minimum(random.pareto(0.5, ENDED) * 3, items // CLUSTER - 1).astype(np.int64) * CLUSTER
    for slot, cluster in enumerate(busy.tolist()):
        within = random.permutation(CLUSTER)[: int(random.integers(2, 9))]
        yield (
            Slot(slot),
            EndedSession(NOW - 1000 * (ENDED - slot) - int(random.integers(0, 600_000)), keys[cluster + within]),
        )


def encoder_of(random: np.random.Generator, memory: int = 0) -> SessionEncoder:
    """Return an encoder with small random weights, and a memory of so many numbers."""
    shapes = ((3 * memory, DIM), (4, 3 * memory), (3 * memory, memory), (3 * memory,), (DIM, memory))
    weights = (random.normal(0, 0.1, shape).astype(np.float32) for shape in shapes)
    return SessionEncoder(
        weight=random.normal(0, 0.1, (DIM, DIM)).astype(np.float32),
        bias=np.zeros(DIM, np.float32),
        shift=np.zeros((4, DIM), np.float32),
        version=MODEL,
        memory=Memory.of(dict(zip(MEMORY_ARRAYS, weights, strict=True))) if memory else None,
    )


def step_us(encoder: SessionEncoder, clicks: int, random: np.random.Generator) -> float:
    """Return the median microseconds a click when so many sessions take one step together."""
    states, vectors = encoder.empty(clicks), item_vectors(clicks, random)
    codes = np.ones(clicks, np.uint8)
    took = []
    for _ in range(10 * ROUNDS):
        began = time.perf_counter()
        states = encoder.step(states, vectors, codes)
        took.append(time.perf_counter() - began)
    return float(np.median(took)) * 1e6 / clicks


def sessions(
    count: int, items: int, encoder: SessionEncoder, catalogue: CatalogueColumns, random: np.random.Generator
) -> list[Session]:
    """Return sessions of 1 to 12 clicks inside a cluster, with their stored embeddings."""
    windows = []
    for _ in range(count):
        window = np.zeros(int(random.integers(1, 13)), CLICK)
        cluster = int(random.integers(0, items // CLUSTER)) * CLUSTER
        window["item"] = [item_key(f"i{at}") for at in cluster + random.integers(0, CLUSTER, len(window))]
        window["ts_ms"] = NOW - 1000 * np.arange(len(window), 0, -1)
        window["code"] = 1
        windows.append(window)
    states, _ = encoder.encode(windows, catalogue)
    return [
        Session(f"s{at}", None, NOW, NOW, len(window), 0, window, state, MODEL)
        for at, (window, state) in enumerate(zip(windows, states, strict=True))
    ]


def ranker_of(random: np.random.Generator) -> Ranker:
    """Train 150 trees of depth 6 on noise around a few features, so that they are as bushy as real ones."""
    features = random.normal(size=(20_000, len(FEATURES))).astype(np.float32)
    wanted = features[:, :6].sum(axis=1) + random.normal(size=len(features)) > 2
    matrix = xgb.DMatrix(features, wanted.astype(np.float32))
    booster = xgb.train({"max_depth": 6, "nthread": 1, "objective": "binary:logistic"}, matrix, 150)
    return Ranker(booster, model_version=MODEL)


class Shop(NamedTuple):
    """What answers, and the sessions to ask it for."""

    state: ServingState
    encoder: SessionEncoder
    pipeline: Pipeline
    visitors: list[Session]


def shop(items: int) -> Shop:
    """Return a shop of so many items."""
    random = np.random.default_rng(items)
    catalogue = CatalogueColumns(model_version=MODEL, dim=DIM)
    catalogue.apply(rows(item_vectors(items, random), random))
    index = AnnIndex(catalogue)
    index.rebuild()
    trends = TrendColumns()
    trends.apply(trends_of(items, random))
    encoder = encoder_of(random)
    ended = SessionColumns()
    ended.apply(ended_sessions(items, random))
    state = ServingState(catalogue, index, trends, ended)
    pipeline = Pipeline(state, encoder, ranker_of(random))
    return Shop(state, encoder, pipeline, sessions(512, items, encoder, catalogue, random))


def measure(pipeline: Pipeline, visitors: Sequence[Session], batch: int) -> tuple[list[float], dict[str, float]]:
    """Return the milliseconds a query of every round, and the mean microseconds a query of every stage."""
    took: list[float] = []
    stages: dict[str, float] = {}
    for turn in range(-20, ROUNDS):
        asked = [visitors[(turn * batch + at) % len(visitors)] for at in range(batch)]
        queries = [Query(NOW, session=session, region="DE") for session in asked]
        began = time.perf_counter()
        answers = pipeline.recommend(queries)
        if turn >= 0:
            took.append((time.perf_counter() - began) * 1000 / batch)
            for stage, spent_us in answers[0].timings_us.items():
                stages[stage] = stages.get(stage, 0.0) + spent_us / batch / ROUNDS
    return took, stages


def source_us(shop: Shop) -> dict[str, float]:
    """Return what each candidate source takes to bring what it has to a request alone, the median in microseconds:
    no cache of its lists could save more.
    """
    state, sizes, took = shop.state, PipelineSettings(), dict[str, list[float]]()
    for visitor in (*shop.visitors, *shop.visitors):
        contexts = contexts_of([Query(NOW, session=visitor, region="DE")], state.catalogue, shop.encoder)
        listed, shows = np.zeros(1, np.bool_), np.ones(1, np.bool_)
        batch = Batch(contexts, state, (), listed, NO_FILTERS, shows, Rung.RERANKED, 0, contexts.latest_ms)
        for source in SOURCES:
            began = time.perf_counter()
            source.bring(batch, sizes)
            took.setdefault(source.name, []).append((time.perf_counter() - began) * 1e6)
    return {name: float(np.median(times[len(shop.visitors) :])) for name, times in took.items()}


def main() -> None:
    """Run the benchmark."""
    expect_bench("pipeline")
    results: list[BenchRow] = []
    out = sys.stdout.write
    out(f"{describe_machine()}\n{COMMAND}\n\n")
    for items in SIZES:
        made = shop(items)
        for batch, target_ms in BATCHES:
            took, stages = measure(made.pipeline, made.visitors, batch)
            name = f"{items} items, batch of {batch}"
            results += [
                BenchRow(f"{name}: median a query", round(float(np.median(took)), 3), "ms", target_ms),
                BenchRow(f"{name}: p99 a query", round(float(np.percentile(took, 99)), 3), "ms"),
                *(BenchRow(f"{name}: {stage}", round(spent, 1), "us a query") for stage, spent in stages.items()),
            ]
            out(f"{name:28} median {np.median(took):6.3f} ms  p99 {np.percentile(took, 99):6.3f} ms a query   ")
            out("  ".join(f"{stage} {spent:.0f}" for stage, spent in stages.items()) + " us\n")
        sources = source_us(made)
        results += [
            BenchRow(f"{items} items, source {name}", round(spent, 1), "us a query") for name, spent in sources.items()
        ]
        out(f"{items} items, sources alone: {'  '.join(f'{name} {spent:.0f}' for name, spent in sources.items())} us\n")
    for memory in MEMORIES:
        for clicks in (1, 64):
            random = np.random.default_rng(1)
            spent = step_us(encoder_of(random, memory), clicks, random)
            name = f"a click's step, {clicks} sessions together, memory of {memory}"
            results.append(BenchRow(name, round(spent, 2), "us a click"))
            out(f"{name:60} {spent:6.2f} us a click\n")
    out(f"\n{write_bench('pipeline', results, COMMAND)}\n")


if __name__ == "__main__":
    main()
