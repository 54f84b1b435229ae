"""Parts of the index bench that search in this process: graphs, the index as served, after churn, trained vectors."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from contracts.ids import ItemKey
from contracts.items import CatalogueRow, Item
from nextclick.bench.index_files import (
    MODEL,
    NEIGHBOURS,
    QUERIES,
    Float32s,
    Progress,
    built_with,
    exact_of,
    graph_file,
    label,
    open_bench,
    queries,
    vectors_of,
)
from nextclick.bench.report import BenchRow
from nextclick.bench.vectors import DIM, clustered
from retrieval.ann_index import AnnIndex
from retrieval.canary import check, probes
from retrieval.catalogue import CatalogueColumns
from retrieval.graph import Graph, GraphOptions, map_graph, nearest
from session_model import artifact
from session_model.item_tower import ItemTower

console = Console()

WARM_UP = 2000
CHURN = 0.2
GONE = 0.25
"""Share of the churned items that are deleted; the others are changed."""
RECALL, SEARCH_MS = 0.98, 0.6


def graph_rows(size: int, options: GraphOptions, threads: int, progress: Progress) -> list[BenchRow]:
    """Measure one graph: build time and size, and for every search width recall and latency."""
    path = graph_file(size, options, threads, progress)
    graph, vectors = map_graph(path, DIM, options), vectors_of(size, progress)
    what = f"{label(size)} {options.precision} {options.connectivity}/{options.expansion_add}"
    rows = [
        BenchRow(f"{what}: build, CPU", built_with(path)["cpu_s"], "s"),
        BenchRow(f"{what}: graph file", path.stat().st_size / 1e6, "MB"),
    ]
    for width in (128, 160, 192, 256, 384):
        graph.expansion_search = width
        took_ms, hits, ranked = [], [], []
        for query, wanted in zip(queries(), exact_of(size, progress), strict=True):
            began = time.perf_counter()
            found, _ = nearest(graph, query, 125)
            best = found[np.argsort(-(vectors[found] @ query))[:NEIGHBOURS]]
            took_ms.append(1000 * (time.perf_counter() - began))
            hits.append(np.isin(wanted, found[:NEIGHBOURS]).mean())
            ranked.append(np.isin(wanted, best).mean())
        p50, p99 = np.percentile(took_ms, (50, 99))
        console.print(f"{what} width {width}: recall {np.mean(ranked):.4f}, p50 {p50:.3f} ms")
        rows += [
            BenchRow(f"{what}, width {width}: recall@100 by the graph's order", float(np.mean(hits)), "share"),
            BenchRow(f"{what}, width {width}: recall@100 ranked in f32", float(np.mean(ranked)), "share"),
            BenchRow(f"{what}, width {width}: p50", float(p50), "ms"),
            BenchRow(f"{what}, width {width}: p99", float(p99), "ms"),
        ]
    return rows


def served_rows(size: int, name: str, progress: Progress) -> list[BenchRow]:
    """Measure the snapshot as it serves, one query at a time, beside its bare graph."""
    progress(f"{label(size)}: searching")
    index = open_bench(size, name).index
    warm_up(index)
    return _search_rows(f"{label(size)} served", index, exact_of(size, progress), size)


def churn_rows(size: int, name: str, progress: Progress) -> tuple[list[BenchRow], float]:
    """Measure it after 20% of the items were put anew or deleted, with no rebuild. Returns the p50 in ms as well."""
    opened = open_bench(size, name)
    columns, index = opened.columns, opened.index
    random = np.random.default_rng(5)
    chosen = random.choice(size, int(CHURN * size), replace=False).astype(np.int32)
    gone, changed = np.split(chosen, [int(GONE * len(chosen))])
    vectors = clustered(len(changed), seed=6)
    began = time.process_time()
    for at in range(0, len(changed), 1000):
        progress(f"{label(size)}: churn, {at:,} of {len(changed):,}")
        rows = changed[at : at + 1000]
        columns.vectors[rows] = vectors[at : at + 1000]
        index.apply(rows)
    spent_us = 1e6 * (time.process_time() - began) / max(1, len(changed))
    columns.alive[gone] = False
    index.apply(gone)
    progress(f"{label(size)}: searching after churn")
    exact, _ = index.search_exact(queries(), NEIGHBOURS)
    warm_up(index)
    rows_ = _search_rows(f"{label(size)} after 20% churn", index, exact, size)
    found = check(index, columns, random, sample=200, k=NEIGHBOURS)
    rows_ += [
        BenchRow(f"{label(size)} after 20% churn: orphaned", found.orphaned, "share"),
        BenchRow(f"{label(size)}: CPU a changed item", spent_us, "us"),
    ]
    return rows_, next(row.value for row in rows_ if row.name.endswith("search p50, one thread"))


def trained_rows(artifacts: Path, progress: Progress) -> list[BenchRow]:
    """Measure recall on the item vectors of a trained tower, as a snapshot serves them, fresh and after the same churn:
    the churned items take each other's vectors, or go."""
    progress(f"trained vectors of {artifacts}")
    columns = _trained(artifacts)
    graph = AnnIndex(columns).plan_build().build()
    index = AnnIndex(columns, exact_up_to=0, base=graph)
    asked, _ = probes(columns, np.random.default_rng(1), QUERIES)
    what = f"trained vectors ({columns.count:,} x {columns.dim} of {artifacts.name})"
    _, recall = _timed(index, asked, index.search_exact(asked, NEIGHBOURS)[0])
    chosen = np.random.default_rng(5).choice(columns.count, int(CHURN * columns.count), replace=False).astype(np.int32)
    gone, changed = np.split(chosen, [int(GONE * len(chosen))])
    columns.vectors[changed] = columns.vectors[np.roll(changed, 1)]
    columns.alive[gone] = False
    index.apply(chosen)
    _, after = _timed(index, asked, index.search_exact(asked, NEIGHBOURS)[0])
    return [
        BenchRow(f"{what}: recall@100", recall, "share", RECALL, "higher"),
        BenchRow(f"{what} after 20% churn: recall@100", after, "share", RECALL, "higher"),
    ]


def warm_up(index: AnnIndex) -> None:
    """Search a while: a new process's first searches map the pages that they touch."""
    for query in clustered(WARM_UP, seed=3):
        index.search(query[None], NEIGHBOURS)


def _search_rows(what: str, index: AnnIndex, exact: NDArray[Any], size: int) -> list[BenchRow]:
    asked = queries()
    spent = time.thread_time()
    took_ms, recall = _timed(index, asked, exact)
    spent_ms = 1000 * (time.thread_time() - spent) / len(asked)
    p50, p99 = (float(p) for p in np.percentile(took_ms, (50, 99)))
    rows = [
        BenchRow(f"{what}: recall@100", recall, "share", RECALL, "higher"),
        BenchRow(f"{what}: search p50, one thread", p50, "ms", SEARCH_MS if size == 1_000_000 else None),
        BenchRow(f"{what}: search p99, one thread", p99, "ms"),
        BenchRow(f"{what}: CPU a search, mean", spent_ms, "ms"),
    ]
    graph = index.base_graph
    if graph is not None:
        rows.append(BenchRow(f"{what}: search against the bare graph's, paired", _against(index, graph, asked), "x"))
    return rows


def _against(index: AnnIndex, graph: Graph, asked: Float32s) -> float:
    """Return the median of a served search's time over that of the base graph alone, one right after the other, for
    different queries: the second search for one query finds the first one's memory in the cache."""
    ratios = []
    for query, other in zip(asked, np.roll(asked, len(asked) // 2, axis=0), strict=True):
        began = time.perf_counter()
        nearest(graph, other, NEIGHBOURS)
        between = time.perf_counter()
        index.search(query[None], NEIGHBOURS)
        ratios.append((time.perf_counter() - between) / (between - began))
    return float(np.median(ratios))


def _timed(index: AnnIndex, asked: Float32s, exact: NDArray[Any]) -> tuple[list[float], float]:
    """Return the milliseconds of each search, and recall."""
    took_ms, hits = [], []
    for query, wanted in zip(asked, exact, strict=True):
        began = time.perf_counter()
        rows, _ = index.search(query[None], NEIGHBOURS)
        took_ms.append(1000 * (time.perf_counter() - began))
        hits.append(np.isin(wanted, rows[0]).mean())
    return took_ms, float(np.mean(hits))


def _trained(artifacts: Path) -> CatalogueColumns:
    """Return columns with the vectors that a tower gives the items it was trained on."""
    folder = artifacts / artifact.SESSION_MODEL
    tower = ItemTower.load(folder)
    table = artifact.read_arrays(folder, artifact.read_manifest(folder, artifact.SESSION_MODEL), ("id_table",))
    vectors = table["id_table"].astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    columns = CatalogueColumns(model_version=MODEL, dim=tower.dim)
    item = Item.model_construct(title="Trained", category="", price=0.0)
    columns.apply(
        (ItemKey(key), CatalogueRow(str(key), item, 1, 1, MODEL, vector.astype("<f4").tobytes()))
        for key, vector in zip(tower.id_keys.tolist(), vectors, strict=True)
    )
    return columns
