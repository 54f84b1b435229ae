"""`nextclick bench index`: the live index at 100k and 1M items: recall, latency, memory, freshness, hot swap.

Every part runs the code that serves, on clustered vectors drawn from a seed. Graphs are kept under build/index and
built once. Each part that needs a clean process runs in one of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
import typer
from numpy.typing import NDArray
from rich.console import Console

from contracts.clock import wall_clock_ms
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.settings import IndexSettings
from evaluation.report import BenchRow
from nextclick.bench_vectors import AT_ONCE, DIM, clustered
from retrieval.ann_index import AnnIndex
from retrieval.canary import check
from retrieval.catalogue import CatalogueColumns
from retrieval.graph import GraphOptions, add_rows, empty_graph, map_graph, nearest, save_graph
from retrieval.live import GRAPH, Opened, fingerprint, open_snapshot
from retrieval.snapshot import Manifest, Precision, building, entries_of, publish, read_pointer
from retrieval.snapshot_catalogue import capacity_for, write_catalogue

console = Console()

BUILD = Path("build/index")
K, MODEL = 100, 7
QUERIES = 300
WARM_UP = 2000
UPSERTS_A_SECOND = SEARCHES_A_SECOND = 200
REQUESTS_A_SECOND = 300

Float32s = NDArray[np.float32]


def bench_index(
    items: Annotated[list[int] | None, typer.Option(help="Catalogue sizes; 100,000 and 1,000,000.")] = None,
    table: Annotated[bool, typer.Option(help="Measure every precision, not only the default.")] = True,
    seconds: Annotated[float, typer.Option(help="How long each load lasts.")] = 20.0,
    threads: Annotated[int, typer.Option(help="Threads that build graphs.")] = 2,
) -> None:
    """Measure the live index; writes build/bench/index.json. A million items take some 10 minutes, most of it once."""
    from nextclick.bench import finish

    sizes = items or [100_000, 1_000_000]
    rows: list[BenchRow] = []
    p50s = []
    for size in sizes:
        for options in [*(_compared(size == min(sizes)) if table else ()), GraphOptions()]:
            rows += _graph_rows(size, options, threads)
        with console.status(f"{size:,} items: writing the snapshot"):
            name = _snapshot(size, threads)
        found, p50 = _served_rows(size, name)
        rows += _shown(found)
        p50s.append(p50)
        rows += _shown(_open_rows(size, name))
        rows += _shown(_freshness_rows(size, name, seconds))
        rows += _shown(_swap_rows(size, name, seconds))
        rows += _shown(_churn_rows(size, name))
    if len(sizes) > 1:
        rows.append(BenchRow(f"search p50, {max(sizes):,} against {min(sizes):,} items", p50s[-1] / p50s[0], "x", 2.0))
    rows.append(BenchRow("load average of the machine meanwhile", os.getloadavg()[2], "1"))
    finish("index", rows, "make bench-index")


def _shown(rows: list[BenchRow]) -> list[BenchRow]:
    """Print figures as they come: the whole takes minutes."""
    for row in rows:
        console.print(f"{row.name}: {row.value:,.4g} {row.unit}")
    return rows


def _compared(smallest: bool) -> list[GraphOptions]:
    """Return the graphs that the default is compared with; all precisions at the smallest size only."""
    precisions: tuple[Precision, ...] = ("bf16", "f16", "f32", "i8") if smallest else ("bf16",)
    return [GraphOptions(precision, 16, 128) for precision in precisions]


def label(size: int) -> str:
    return f"{size // 1000}k" if size < 1_000_000 else f"{size / 1e6:g}M"


def _graph_rows(size: int, options: GraphOptions, threads: int) -> list[BenchRow]:
    """One line of the table a search width: recall, latency; and the graph's size and build time."""
    path = _graph_file(size, options, threads)
    built = orjson.loads(path.with_suffix(".json").read_bytes())
    graph = map_graph(path, DIM, options)
    vectors = _vectors(size)
    queries, exact = clustered(QUERIES, seed=9), _exact(size)
    what = f"{label(size)} {options.precision} M={options.connectivity}/{options.expansion_add}"
    rows = [
        BenchRow(f"{what}: build, CPU", built["cpu_s"], "s"),
        BenchRow(f"{what}: graph file", path.stat().st_size / 1e6, "MB"),
    ]
    for expansion in (128, 192, 256, 384):
        graph.expansion_search = expansion
        took_ms, hits, ranked = [], [], []
        spent = time.thread_time()
        for query, wanted in zip(queries, exact, strict=True):
            began = time.perf_counter()
            found, _ = nearest(graph, query[None], 125)
            best = found[0][np.argsort(-(vectors[found[0]] @ query))[:K]]
            took_ms.append(1000 * (time.perf_counter() - began))
            hits.append(np.isin(wanted, found[0][:K]).mean())
            ranked.append(np.isin(wanted, best).mean())
        spent_ms = 1000 * (time.thread_time() - spent) / len(queries)
        p50, p99 = np.percentile(took_ms, (50, 99))
        console.print(f"{what} expansion {expansion}: recall {np.mean(ranked):.4f}, {p50:.3f} ms, {spent_ms:.3f} CPU")
        rows += [
            BenchRow(f"{what}, expansion {expansion}: recall@100 by the graph's order", float(np.mean(hits)), "share"),
            BenchRow(f"{what}, expansion {expansion}: recall@100 ranked in f32", float(np.mean(ranked)), "share"),
            BenchRow(f"{what}, expansion {expansion}: CPU, mean", spent_ms, "ms"),
            BenchRow(f"{what}, expansion {expansion}: p50", float(p50), "ms"),
            BenchRow(f"{what}, expansion {expansion}: p99", float(p99), "ms"),
        ]
    return rows


def _served_rows(size: int, name: str) -> tuple[list[BenchRow], float]:
    """The index as it serves, through `AnnIndex.search`, one query at a time."""
    opened = _open(size, name)
    queries, exact = clustered(QUERIES, seed=9), _exact(size)
    for query in clustered(WARM_UP, seed=3):  # a new process's first searches map the pages that they touch
        opened.index.search(query[None], K)
    spent = time.thread_time()
    took_ms, recall = _timed_searches(opened.index, queries, exact)
    spent_ms = 1000 * (time.thread_time() - spent) / len(queries)
    p50, p99 = (float(p) for p in np.percentile(took_ms, (50, 99)))
    return [
        BenchRow(f"{label(size)} served: recall@100", recall, "share", 0.98, "higher"),
        BenchRow(f"{label(size)} served: search p50, one thread", p50, "ms", 0.6 if size == 1_000_000 else None),
        BenchRow(f"{label(size)} served: search p99, one thread", p99, "ms"),
        BenchRow(f"{label(size)} served: CPU a search, mean", spent_ms, "ms"),
    ], p50


def _timed_searches(index: AnnIndex, queries: Float32s, exact: NDArray[Any]) -> tuple[list[float], float]:
    took_ms, hits = [], []
    for query, wanted in zip(queries, exact, strict=True):
        began = time.perf_counter()
        rows, _ = index.search(query[None], K)
        took_ms.append(1000 * (time.perf_counter() - began))
        hits.append(np.isin(wanted, rows[0]).mean())
    return took_ms, float(np.mean(hits))


def _open_rows(size: int, name: str) -> list[BenchRow]:
    """Time to the first answer in a fresh process, and what a second process adds to the first one's memory."""
    first = _start_reader(size, name)
    alone = _ask(first, "memory")
    second = _start_reader(size, name)
    added = _ask(second, "memory")  # first: it answers once everything is mapped, and only then is the rest shared
    together = _ask(first, "memory")["pss_mb"] + added["pss_mb"]
    opened = _ask(second, "opened")
    for reader in (first, second):
        reader.stdin.close()  # type: ignore[union-attr]
        reader.wait()
    return [
        BenchRow(f"{label(size)}: open to first answer, new process", opened["open_s"], "s", 1.0),
        BenchRow(f"{label(size)}: first process, index memory (PSS)", alone["pss_mb"], "MB"),
        BenchRow(
            f"{label(size)}: second process adds", 100 * (together - alone["pss_mb"]) / alone["pss_mb"], "%", 15.0
        ),
        BenchRow(f"{label(size)}: second process, private memory", added["private_mb"], "MB"),
    ]


def reader_main(folder: str, name: str) -> None:
    """A process that opens a snapshot and answers to lines of stdin: what `_open_rows` asks."""
    empty_mb = _memory()
    began = time.perf_counter()
    opened = open_snapshot(Path(folder), name, IndexSettings(folder=folder), model=(MODEL, DIM))
    opened.index.search(clustered(1, seed=9), K)
    open_s = time.perf_counter() - began
    for query in clustered(2000, seed=3):
        opened.index.search(query[None], K)
    np.add.reduce(opened.columns.vectors[: opened.columns.count : 8].sum(axis=1))  # every page of the vectors
    for asked in sys.stdin:
        memory = _memory()
        answer = {name: memory[name] - empty_mb[name] for name in memory} if asked.strip() == "memory" else {}
        sys.stdout.write(orjson.dumps({**answer, "open_s": open_s}).decode() + "\n")
        sys.stdout.flush()


def _start_reader(size: int, name: str) -> subprocess.Popen[str]:
    code = f"from nextclick.bench_index import reader_main; reader_main({str(_folder(size))!r}, {name!r})"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(reader: subprocess.Popen[str], what: str) -> dict[str, float]:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write(what + "\n")
    reader.stdin.flush()
    answer: dict[str, float] = orjson.loads(reader.stdout.readline())
    return answer


def _memory() -> dict[str, float]:
    found = {"Pss:": 0.0, "Private_Clean:": 0.0, "Private_Dirty:": 0.0}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, *rest = line.split()
        if name in found:
            found[name] = int(rest[0]) / 1024
    return {"pss_mb": found["Pss:"], "private_mb": found["Private_Clean:"] + found["Private_Dirty:"]}


def _freshness_rows(size: int, name: str, seconds: float) -> list[BenchRow]:
    """Upserts through the table and the replica of a gateway's process, under searches in the same event loop."""
    import asyncio

    from nextclick.bench_index_load import freshness

    with console.status(f"{label(size)}: upserts under searches for {seconds:g} s"):
        late_ms, search_ms = asyncio.run(freshness(_open(size, name), seconds, UPSERTS_A_SECOND, SEARCHES_A_SECOND))
    upsert, search = np.percentile(late_ms, (50, 99)), np.percentile(search_ms, (50, 99))
    return [
        BenchRow(f"{label(size)}: upsert to retrievable, p50", float(upsert[0]), "ms", 100.0),
        BenchRow(f"{label(size)}: upsert to retrievable, p99", float(upsert[1]), "ms", 1000.0),
        BenchRow(f"{label(size)}: searches beside, p99 from intended time", float(search[1]), "ms"),
    ]


def _churn_rows(size: int, name: str) -> list[BenchRow]:
    """Recall and latency after 20% of the items were changed, put or deleted, with no rebuild."""
    opened = _open(size, name)
    random = np.random.default_rng(5)
    columns, index = opened.columns, opened.index
    chosen = random.choice(size, size // 5, replace=False)
    changed, gone = chosen[: len(chosen) * 3 // 4], chosen[len(chosen) * 3 // 4 :]
    vectors = clustered(len(changed), seed=6)
    began = time.process_time()
    for at in range(0, len(changed), 1000):
        with console.status(f"{label(size)}: churn, {at:,} of {len(changed):,}"):
            rows = changed[at : at + 1000].astype(np.int32)
            columns.vectors[rows] = vectors[at : at + 1000]
            index.apply(rows)
    spent_us = 1e6 * (time.process_time() - began) / max(1, len(changed))
    columns.alive[gone] = False
    index.apply(gone.astype(np.int32))
    queries = clustered(QUERIES, seed=9)
    exact, _ = index.search_exact(queries, K)
    took_ms, recall = _timed_searches(index, queries, exact)
    found = check(index, columns, random, sample=200, k=K)
    p50, p99 = np.percentile(took_ms, (50, 99))
    return [
        BenchRow(f"{label(size)} after 20% churn: recall@100", recall, "share", 0.98, "higher"),
        BenchRow(f"{label(size)} after 20% churn: search p50", float(p50), "ms"),
        BenchRow(f"{label(size)} after 20% churn: search p99", float(p99), "ms"),
        BenchRow(f"{label(size)} after 20% churn: orphaned", found.orphaned, "share"),
        BenchRow(f"{label(size)}: CPU a changed item", spent_us, "us"),
    ]


def _swap_rows(size: int, name: str, seconds: float) -> list[BenchRow]:
    """Searches at a fixed rate in an event loop, with and without exchanging the snapshot."""
    import asyncio

    from nextclick.bench_index_load import hot_swap

    with console.status(f"{label(size)}: hot swap under {REQUESTS_A_SECOND} requests/s"):
        found = asyncio.run(hot_swap(lambda: _open(size, name), seconds, REQUESTS_A_SECOND))
    before, during = np.percentile(found.before_ms, 99), np.percentile(found.during_ms, 99)
    return [
        BenchRow(f"{label(size)} hot swap: failed requests", float(found.failed), "1", 0.0),
        BenchRow(f"{label(size)} hot swap: p99 before", float(before), "ms"),
        BenchRow(f"{label(size)} hot swap: p99 during", float(during), "ms"),
        BenchRow(f"{label(size)} hot swap: p99 during against before", float(during / before), "x", 2.0),
    ]


def _folder(size: int) -> Path:
    return BUILD / f"snapshots-{label(size)}"


def _open(size: int, name: str) -> Opened:
    settings = IndexSettings(folder=str(_folder(size)))
    return open_snapshot(_folder(size), name, settings, model=(MODEL, DIM))


def _vectors(size: int) -> Float32s:
    path = BUILD / f"vectors-{label(size)}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, clustered(size, seed=1))
    found: Float32s = np.asarray(np.load(path, mmap_mode="r"))
    return found


def _exact(size: int) -> NDArray[np.int64]:
    """The rows of the exact answers to the benchmark's queries, (queries, k)."""
    path = BUILD / f"exact-{label(size)}.npy"
    if not path.exists():
        vectors, queries = _vectors(size), clustered(QUERIES, seed=9)
        parts = [queries @ vectors[at : at + AT_ONCE].T for at in range(0, size, AT_ONCE)]
        np.save(path, np.argpartition(-np.concatenate(parts, axis=1), K, axis=1)[:, :K])
    found: NDArray[np.int64] = np.load(path)
    return found


def _graph_file(size: int, options: GraphOptions, threads: int) -> Path:
    """Build a graph once; its CPU and wall time stay beside it."""
    name = f"graph-{label(size)}-{options.precision}-{options.connectivity}-{options.expansion_add}.usearch"
    path = BUILD / name
    if path.exists():
        return path
    vectors = _vectors(size)
    graph = empty_graph(DIM, options)
    began, spent = time.perf_counter(), time.process_time()
    for at in range(0, size, AT_ONCE // 10):
        with console.status(f"{name}: {at:,} of {size:,} items, {time.perf_counter() - began:,.0f} s"):
            rows = np.arange(at, min(at + AT_ONCE // 10, size), dtype=np.int32)
            add_rows(graph, rows, vectors[rows], threads=threads)
    report = {"build_s": time.perf_counter() - began, "cpu_s": time.process_time() - spent, "threads": threads}
    save_graph(graph, path)
    path.with_suffix(".json").write_bytes(orjson.dumps(report))
    return path


def _snapshot(size: int, threads: int) -> str:
    """Publish a snapshot of `size` items with the default graph, once; returns its name."""
    folder = _folder(size)
    options = GraphOptions()
    current = read_pointer(folder).current if folder.exists() else None
    graph = _graph_file(size, options, threads)
    if current is not None:
        manifest = Manifest.model_validate_json((folder / current / "manifest.json").read_bytes())
        if (manifest.connectivity, manifest.expansion_add) == (options.connectivity, options.expansion_add):
            return current
    columns = _columns(size)
    with building(folder) as aside:
        shutil.copy(graph, aside / GRAPH)
        write_catalogue(aside, columns)
        manifest = Manifest(
            tower_version=f"{MODEL:016x}",
            dim=DIM,
            precision=options.precision,
            connectivity=options.connectivity,
            expansion_add=options.expansion_add,
            rows=size,
            alive=size,
            searchable=size,
            capacity=capacity_for(size),
            change=0,
            fingerprint=fingerprint([]),
            progress={},
            newest_ms=1000,
            built_ms=wall_clock_ms(),
            build_s=orjson.loads(graph.with_suffix(".json").read_bytes())["build_s"],
            recall=None,
            files=entries_of(aside),
        )
        return publish(folder, aside, manifest)


def _columns(size: int) -> CatalogueColumns:
    columns = CatalogueColumns(model_version=MODEL, dim=DIM)
    vectors = _vectors(size)
    for at in range(0, size, 10_000):
        columns.apply(_rows(range(at, min(at + 10_000, size)), vectors[at : at + 10_000]))
    return columns


def _rows(numbers: Sequence[int], vectors: Float32s) -> Iterator[tuple[ItemKey, CatalogueRow]]:
    for number, vector in zip(numbers, vectors, strict=True):
        item_id = f"item-{number}"
        item = Item.model_construct(title=f"Item {number}", category=f"d{number % 256}/s{number % 4096}", price=9.5)
        yield item_key(item_id), CatalogueRow(item_id, item, 5, 1000, MODEL, vector.astype("<f4").tobytes())


if __name__ == "__main__":
    typer.run(bench_index)
