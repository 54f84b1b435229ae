"""Shards of the index: recall, latency, processor time and memory by number of items and of shards.

`make bench-shards`: clustered vectors from a seed, a process a shard (a real door, the real search), asked by the real
scatter. Graphs are kept under build/shards and made once, one after the other. Of a size too large to build as a whole
here, `--one-of` measures one shard, as the others are equal to it by construction.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import orjson
import typer

from nextclick.bench.index import parse_size
from nextclick.bench.index_files import MODEL, NEIGHBOURS, label
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from nextclick.bench.vectors import AT_ONCE, DIM, Float32s, clustered
from retrieval.ann_index import AnnIndex
from retrieval.catalogue import CatalogueColumns
from retrieval.graph import GraphOptions, add_rows, empty_graph, map_graph, save_graph
from retrieval.scatter import Scatter
from retrieval.shard_frames import Answer, Search
from retrieval.shard_sockets import Door

BUILD = Path("build/shards")
QUERIES, ASKED, BATCHES = 100, 1500, (1, 16)
_PATIENT_S = 60.0
_STEP = 10_000


def main(
    items: Annotated[list[int] | None, typer.Option(parser=parse_size, metavar="SIZE", help="300k by default.")] = None,
    shards: Annotated[list[int] | None, typer.Option(help="Numbers of shards: 1, 2 and 4 by default.")] = None,
    one_of: Annotated[bool, typer.Option(help="Build and measure one shard alone of each.")] = False,
) -> None:
    """Measure shards of the index; writes build/bench/shards.json. 300k takes ten minutes of a core, 3M three hours."""
    expect_bench("shards")
    BUILD.mkdir(parents=True, exist_ok=True)
    rows: list[BenchRow] = []
    for size in items or [300_000]:
        for of in shards or [1, 2, 4]:
            found = _rows(size, of, one_of=one_of)
            for row in found:
                console.print(f"{row.name}: {row.value:,.4g} {row.unit}")
            rows += found
    rows.append(BenchRow("load average of the machine meanwhile", os.getloadavg()[2], "1"))
    finish("shards", rows, "make bench-shards")


def _rows(size: int, of: int, *, one_of: bool) -> list[BenchRow]:
    built = [_built(size, of, shard) for shard in range(1 if one_of else of)]
    what = f"{label(size)}, {'one of ' if one_of else ''}{of} shard{'s' if of > 1 else ''}: "
    queries = clustered(QUERIES + 16, seed=9)
    rows = [
        BenchRow(f"{what}CPU to build, an item", 1e3 * max(one["cpu_s"] / one["items"] for one in built), "ms"),
        BenchRow(f"{what}graph on disk, an item", max(one["bytes"] / one["items"] for one in built), "B"),
    ]
    with _running(size, of, len(built)) as (scatter, pids, empty):
        similarity = _ask(scatter, queries[:QUERIES], len(built))
        recall = _recall(size, of, len(built), queries, similarity)
        rows.append(BenchRow(f"{what}recall@{NEIGHBOURS}", recall, "1"))
        for batch in BATCHES:
            rows += [BenchRow(what + row.name, row.value, row.unit) for row in _timed(scatter, queries, batch, pids)]
        grown = max(_resident(pid) - before for pid, before in zip(pids, empty, strict=True)) / built[0]["items"]
        rows.append(BenchRow(f"{what}memory that searches made resident, an item", grown, "B"))
    return rows


def _vectors(size: int, of: int, shard: int) -> Iterator[Float32s]:
    """Yield the vectors of a share: item i is of shard i % of, whatever `of` is."""
    for at in range(0, size, AT_ONCE):
        drawn = clustered(min(AT_ONCE, size - at), seed=1000 + at // AT_ONCE)
        yield drawn[(np.arange(at, at + len(drawn)) % of) == shard]


def _built(size: int, of: int, shard: int) -> dict[str, Any]:
    """Build a shard's graph and write its vectors, once. Returns what it took."""
    name = BUILD / f"{label(size)}-{shard}-of-{of}"
    report = name.with_suffix(".json")
    if report.exists():
        found: dict[str, Any] = orjson.loads(report.read_bytes())
        return found
    graph, done, cpu_s = empty_graph(DIM, GraphOptions()), 0, 0.0
    with name.with_suffix(".f32").open("wb") as file:
        for part in _vectors(size, of, shard):
            file.write(part.tobytes())
            began = time.process_time()
            for at in range(0, len(part), _STEP):
                some = part[at : at + _STEP]
                add_rows(graph, np.arange(done, done + len(some), dtype=np.int32), some, threads=1)
                done += len(some)
            cpu_s += time.process_time() - began
            console.print(f"{name.name}: {done:,} items, {cpu_s:,.0f} s of a core")
    save_graph(graph, name.with_suffix(".usearch"))
    size_on_disk = name.with_suffix(".usearch").stat().st_size
    made = {"items": done, "cpu_s": cpu_s, "bytes": size_on_disk}
    report.write_bytes(orjson.dumps(made))
    return made


def _serve(size: int, of: int, shard: int, address: str, ready: Connection) -> None:
    """Be a shard: mapped graph and vectors, a real door."""
    ready.send(_resident(os.getpid()))
    name = BUILD / f"{label(size)}-{shard}-of-{of}"
    vectors = np.memmap(name.with_suffix(".f32"), np.float32, "r").reshape(-1, DIM)
    columns = CatalogueColumns(model_version=MODEL, dim=DIM)
    count = len(vectors)
    columns.vectors, columns.keys = vectors, np.arange(shard, shard + of * count, of, dtype=np.uint64)
    columns.alive = columns.has_vector = np.ones(count, np.bool_)
    columns.open_rows(_Counted(count))  # type: ignore[arg-type]
    index = AnnIndex(columns, base=map_graph(name.with_suffix(".usearch"), DIM, GraphOptions()))

    def respond(search: Search) -> Answer:
        rows, similarity = index.search(search.queries, search.k)
        return Answer((0,), columns.keys[rows], similarity)

    door = Door(address, respond)
    ready.send(os.getpid())
    while not ready.poll():
        door.turn(0.2)
    door.close()


class _Counted:
    """As many rows as there are, of which nobody asks the keys."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count


@contextmanager
def _running(size: int, of: int, count: int) -> Iterator[tuple[Scatter, list[int], list[int]]]:
    """Yield what asks, and of each shard its process and the bytes that it took before it mapped anything."""
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder, ExitStack() as stack:
        addresses, pids, empty = [], [], []
        for shard in range(count):
            ours, theirs = context.Pipe()
            addresses.append(f"unix:{folder}/{shard}.sock")
            process = context.Process(target=_serve, args=(size, of, shard, addresses[-1], theirs))
            process.start()
            stack.callback(process.join)
            stack.callback(ours.send, None)
            empty.append(ours.recv())
            pids.append(ours.recv())
        scatter = Scatter(addresses, _PATIENT_S)
        stack.callback(scatter.close)
        yield scatter, pids, empty


def _ask(scatter: Scatter, queries: Float32s, count: int) -> Float32s:
    """Return the similarities (q, k) of the nearest items of all shards together."""
    found = [one for one in scatter.ask(Search(MODEL, 0, count, NEIGHBOURS, queries)) if one is not None]
    if len(found) != count:
        raise RuntimeError(f"expected {count} shards to answer, got {len(found)}")
    similarity = np.concatenate([one.similarity for one in found], axis=1)
    return -np.partition(-similarity, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]


def _recall(size: int, of: int, count: int, queries: Float32s, similarity: Float32s) -> float:
    """Return the share of the exact answer that was found: every vector is compared with every query."""
    best = np.full((QUERIES, NEIGHBOURS), -np.inf, np.float32)
    for shard in range(count):
        vectors = np.memmap(BUILD / f"{label(size)}-{shard}-of-{of}.f32", np.float32, "r").reshape(-1, DIM)
        for at in range(0, len(vectors), AT_ONCE):
            values = np.concatenate([best, queries[:QUERIES] @ vectors[at : at + AT_ONCE].T], axis=1)
            best = -np.partition(-values, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    floor = best.min(axis=1, keepdims=True) - 1e-6
    return float((similarity >= floor).mean())


def _timed(scatter: Scatter, queries: Float32s, batch: int, pids: Sequence[int]) -> list[BenchRow]:
    """Ask batches one after the other. Processor time is that of the shards and of who asks."""
    random, took = np.random.default_rng(3), []
    drawn = clustered(ASKED, seed=11)
    for at in range(0, 200, batch):  # pages that nobody touched yet
        scatter.ask(Search(MODEL, 0, len(pids), NEIGHBOURS, drawn[at : at + batch]))
    before = _cpu_s(pids)
    own = time.process_time()
    for _ in range(ASKED // batch):
        some = drawn[random.integers(len(drawn), size=batch)]
        began = time.perf_counter()
        answers = scatter.ask(Search(MODEL, 0, len(pids), NEIGHBOURS, some))
        took.append(time.perf_counter() - began)
        if any(one is None for one in answers):
            raise RuntimeError("a shard did not answer")
    count = batch * len(took)
    of = f"batch of {batch}, "
    return [
        BenchRow(f"{of}p50", 1e3 * float(np.percentile(took, 50)), "ms"),
        BenchRow(f"{of}p99", 1e3 * float(np.percentile(took, 99)), "ms"),
        BenchRow(f"{of}CPU of the shards a query", 1e3 * (_cpu_s(pids) - before) / count, "ms"),
        BenchRow(f"{of}CPU of who asks a query", 1e3 * (time.process_time() - own) / count, "ms"),
    ]


def _cpu_s(pids: Sequence[int]) -> float:
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    typer.run(main)
