"""What the index bench keeps under build/index: vectors, exact answers, graphs, snapshots; each made once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from contracts.clock import wall_clock_ms
from contracts.ids import ItemKey, item_key
from contracts.items import CatalogueRow, Item
from contracts.outputs import NEW, written_aside
from contracts.settings import IndexSettings
from nextclick.bench.vectors import AT_ONCE, DIM, clustered
from retrieval.catalogue import CatalogueColumns
from retrieval.graph import Graph, GraphOptions, add_rows, empty_graph, load_graph, save_graph
from retrieval.live import Opened, fingerprint, open_snapshot
from retrieval.snapshot import Manifest, building, entries_of, publish, read_pointer
from retrieval.snapshot_catalogue import capacity_for, write_catalogue
from retrieval.snapshot_folder import GRAPH

BUILD = Path("build/index")
NEIGHBOURS, MODEL = 100, 7
QUERIES = 300
_STEP, _KEPT_EVERY = 10_000, 250_000

Float32s = NDArray[np.float32]
Progress = Callable[[str], None]
"""Called with what is being made."""


def label(size: int) -> str:
    return f"{size // 1000}k" if size < 1_000_000 else f"{size / 1e6:g}M"


def folder_of(size: int) -> Path:
    """Return the folder of snapshots of so many items."""
    return BUILD / f"snapshots-{label(size)}"


def open_bench(size: int, name: str) -> Opened:
    settings = IndexSettings(folder=str(folder_of(size)))
    return open_snapshot(folder_of(size), name, settings, model=(MODEL, DIM))


def vectors_of(size: int, progress: Progress) -> Float32s:
    """Return the vectors of the items, (size, 128), mapped."""
    path = BUILD / f"vectors-{label(size)}.npy"
    if not path.exists():
        progress(f"{label(size)}: drawing vectors")
        with written_aside(path, NEW) as aside, aside.open("xb") as file:
            np.save(file, clustered(size, seed=1))
    found: Float32s = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    return found


def queries() -> Float32s:
    return clustered(QUERIES, seed=9)


def exact_of(size: int, progress: Progress) -> NDArray[np.int64]:
    """Return the rows of the exact answers to `queries`, (queries, k)."""
    path = BUILD / f"exact-{label(size)}.npy"
    if not path.exists():
        progress(f"{label(size)}: exact answers")
        vectors, asked = vectors_of(size, progress), queries()
        parts = [asked @ vectors[at : at + AT_ONCE].T for at in range(0, size, AT_ONCE)]
        with written_aside(path, NEW) as aside, aside.open("xb") as file:
            np.save(file, np.argpartition(-np.concatenate(parts, axis=1), NEIGHBOURS, axis=1)[:, :NEIGHBOURS])
    found: NDArray[np.int64] = np.load(path, allow_pickle=False)
    return found


def graph_file(size: int, options: GraphOptions, threads: int, progress: Progress) -> Path:
    """Build a graph once; its CPU and wall time stay beside it. One that was interrupted is gone on with."""
    name = f"graph-{label(size)}-{options.precision}-{options.connectivity}-{options.expansion_add}"
    path, part = BUILD / f"{name}.usearch", BUILD / f"{name}.part.usearch"
    aside = BUILD / f"{name}.saving.usearch"
    if path.exists():
        return path
    graph, spent = _begun(part, options)
    first = len(graph)
    vectors = vectors_of(size, progress)
    began, cpu = time.perf_counter(), time.process_time()
    for at in range(first, size, _STEP):
        progress(f"{name}: {at:,} of {size:,} items, {time.perf_counter() - began:,.0f} s")
        rows = np.arange(at, min(at + _STEP, size), dtype=np.int32)
        add_rows(graph, rows, vectors[rows], threads=threads)
        done = at + len(rows)
        report = {
            "build_s": spent["build_s"] + time.perf_counter() - began,
            "cpu_s": spent["cpu_s"] + time.process_time() - cpu,
            "threads": threads,
        }
        if done == size or done % _KEPT_EVERY == 0:
            save_graph(graph, aside)
            aside.replace(part)
            part.with_suffix(".json").write_bytes(orjson.dumps(report))
    part.with_suffix(".json").rename(path.with_suffix(".json"))
    part.rename(path)
    return path


def built_with(path: Path) -> dict[str, float]:
    """Return the seconds and CPU seconds that a graph took, and its threads."""
    found: dict[str, float] = orjson.loads(path.with_suffix(".json").read_bytes())
    return found


def snapshot_of(size: int, threads: int, progress: Progress) -> str:
    """Publish a snapshot of `size` items with the default graph, once; returns its name."""
    folder, options = folder_of(size), GraphOptions()
    current = read_pointer(folder).current if folder.exists() else None
    graph = graph_file(size, options, threads, progress)
    if current is not None:
        manifest = Manifest.model_validate_json((folder / current / "manifest.json").read_bytes())
        if (manifest.connectivity, manifest.expansion_add) == (options.connectivity, options.expansion_add):
            return current
    columns = _columns(size, progress)
    progress(f"{label(size)}: writing the snapshot")
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
            build_s=built_with(graph)["build_s"],
            recall=None,
            files=entries_of(aside),
        )
        return publish(folder, aside, manifest)


def _begun(part: Path, options: GraphOptions) -> tuple[Graph, dict[str, float]]:
    report = part.with_suffix(".json")
    if not (part.exists() and report.exists()):
        return empty_graph(DIM, options), {"build_s": 0.0, "cpu_s": 0.0}
    return load_graph(part, DIM, options), orjson.loads(report.read_bytes())


def _columns(size: int, progress: Progress) -> CatalogueColumns:
    columns = CatalogueColumns(model_version=MODEL, dim=DIM)
    vectors = vectors_of(size, progress)
    for at in range(0, size, _STEP):
        progress(f"{label(size)}: columns of {at:,} items")
        columns.apply(_rows(range(at, min(at + _STEP, size)), vectors[at : at + _STEP]))
    return columns


_SHELVES = [
    Item.model_construct(title=f"Item of shelf {n}", category=f"d{n % 256}/s{n}", price=9.5) for n in range(4096)
]


def _rows(numbers: Sequence[int], vectors: Float32s) -> Iterator[tuple[ItemKey, CatalogueRow]]:
    for number, vector in zip(numbers, vectors, strict=True):
        item_id = f"item-{number}"
        shelf: Any = _SHELVES[number % len(_SHELVES)]
        yield item_key(item_id), CatalogueRow(item_id, shelf, 5, 1000, MODEL, vector.astype("<f4").tobytes())
