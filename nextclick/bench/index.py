"""`nextclick bench index`: the live index at several sizes: recall, latency, memory, freshness, hot swap.

Every part runs the code that serves. Vectors, graphs and snapshots are kept under build/index and made once; a graph
that was interrupted is gone on with. Each part that needs a clean process runs in one of its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.status import Status

from evaluation.report import BenchRow, expect_bench
from nextclick.bench.index_files import Progress, label, open_bench, snapshot_of
from nextclick.bench.index_processes import open_rows
from nextclick.bench.index_search import churn_rows, graph_rows, served_rows, trained_rows
from retrieval.graph import GraphOptions
from retrieval.snapshot import Precision

console = Console()

UPSERTS_A_SECOND = SEARCHES_A_SECOND = 200
REQUESTS_A_SECOND = 300
TRAINED = (Path("build/evaluate/diginetica"), Path("nextclick/shop_artifacts"))


def parse_size(given: str | int) -> int:
    """Read 100k, 1M, 250000. Raises BadParameter."""
    typed = str(given)
    factor = {"k": 1_000, "m": 1_000_000}.get(typed[-1:].lower(), 1)
    digits = typed[:-1] if factor > 1 else typed
    if not digits.replace("_", "").isdigit() or int(digits) == 0:
        raise typer.BadParameter(f"expected a number of items such as 100k, 1M or 250000, got {typed!r}")
    return int(digits) * factor


def bench_index(
    items: Annotated[
        list[int] | None, typer.Option(parser=parse_size, metavar="SIZE", help="Catalogue sizes: 100k and 1M.")
    ] = None,
    table: Annotated[bool, typer.Option(help="Compare precisions and links, up to 1M items.")] = False,
    live: Annotated[bool, typer.Option(help="Measure the whole stack over HTTP as well.")] = True,
    live_items: Annotated[int, typer.Option(parser=parse_size, metavar="SIZE", help="Its items.")] = 100_000,
    seconds: Annotated[float, typer.Option(help="How long each load lasts.")] = 20.0,
    threads: Annotated[int, typer.Option(help="Threads that build graphs.")] = 2,
    trained: Annotated[Path | None, typer.Option(help="Artifacts with trained item vectors.")] = None,
) -> None:
    """Measure the live index; writes build/bench/index.json.

    The first run of a size makes its files: 100k takes half a minute of one core, 1M seven minutes, 3M half an hour.
    After that 100k takes two minutes, 1M three, 3M six, the live part two.
    """
    from nextclick.bench.figures import finish

    expect_bench("index")
    sizes = items or [100_000, 1_000_000]
    rows: list[BenchRow] = []
    p50s: dict[int, float] = {}
    for size in sizes:
        found, p50s[size] = _size_rows(size, table, size == min(sizes), seconds, threads)
        rows += found
    if len(sizes) > 1:
        least, most = min(sizes), max(sizes)
        what = f"search p50 after 20% churn, {label(most)} against {label(least)}"
        rows.append(BenchRow(what, p50s[most] / p50s[least], "x", 2.0))
    rows += _trained_rows(trained)
    if live:
        from nextclick.bench.index_live import live_rows

        with _progress() as progress:
            rows += _shown(live_rows(live_items, seconds, progress))
    rows.append(BenchRow("load average of the machine meanwhile", os.getloadavg()[2], "1"))
    finish("index", rows, "make bench-index")


def _size_rows(size: int, table: bool, smallest: bool, seconds: float, threads: int) -> tuple[list[BenchRow], float]:
    began = time.monotonic()
    rows: list[BenchRow] = []
    with _progress() as progress:
        for options in [*(_compared(smallest) if table and size <= 1_000_000 else ()), GraphOptions()]:
            rows += graph_rows(size, options, threads, progress)
        name = snapshot_of(size, threads, progress)
        rows += _shown(served_rows(size, name, progress))
        rows += _shown(open_rows(size, name, progress))
        rows += _shown(_freshness_rows(size, name, seconds, progress))
        rows += _shown(_swap_rows(size, name, seconds, progress))
        churned, p50 = churn_rows(size, name, progress)
        rows += _shown(churned)
    console.print(f"{label(size)}: measured in {time.monotonic() - began:,.0f} s")
    return rows, p50


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show what is being done, on one line that renews itself."""
    with Status("starting", console=console) as status:
        yield status.update


def _shown(rows: list[BenchRow]) -> list[BenchRow]:
    """Print figures as they come: the whole takes minutes."""
    for row in rows:
        console.print(f"{row.name}: {row.value:,.4g} {row.unit}")
    return rows


def _compared(smallest: bool) -> list[GraphOptions]:
    """Return the graphs that the default is compared with; all precisions at the smallest size only."""
    precisions: tuple[Precision, ...] = ("bf16", "f16", "f32", "i8") if smallest else ("bf16",)
    return [*(GraphOptions(precision, 16, 128) for precision in precisions), GraphOptions("i8")]


def _trained_rows(given: Path | None) -> list[BenchRow]:
    found = [path for path in ((given,) if given is not None else TRAINED) if path.exists()]
    if not found:
        return []
    with _progress() as progress:
        return _shown(trained_rows(found[0], progress))


def _freshness_rows(size: int, name: str, seconds: float, progress: Progress) -> list[BenchRow]:
    """Upserts through the table and the replica of a gateway's process, under searches in the same event loop."""
    import asyncio

    from nextclick.bench.index_load import freshness

    progress(f"{label(size)}: upserts under searches for {seconds:g} s")
    late_ms, search_ms = asyncio.run(freshness(open_bench(size, name), seconds, UPSERTS_A_SECOND, SEARCHES_A_SECOND))
    upsert, search = np.percentile(late_ms, (50, 99)), np.percentile(search_ms, (50, 99))
    return [
        BenchRow(f"{label(size)}: table commit to retrievable, p50", float(upsert[0]), "ms", 100.0),
        BenchRow(f"{label(size)}: table commit to retrievable, p99", float(upsert[1]), "ms", 1000.0),
        BenchRow(f"{label(size)}: searches beside, p99 from intended time", float(search[1]), "ms"),
    ]


def _swap_rows(size: int, name: str, seconds: float, progress: Progress) -> list[BenchRow]:
    """Searches at a fixed rate in an event loop, with and without exchanging the snapshot."""
    import asyncio

    from nextclick.bench.index_load import hot_swap

    progress(f"{label(size)}: hot swap under {REQUESTS_A_SECOND} searches/s for {seconds:g} s")
    found = asyncio.run(hot_swap(lambda: open_bench(size, name), seconds, REQUESTS_A_SECOND))
    before, during = np.percentile(found.before_ms, 99), np.percentile(found.during_ms, 99)
    return [
        BenchRow(f"{label(size)} swap in one process: failed searches", float(found.failed), "1", 0.0),
        BenchRow(f"{label(size)} swap in one process: p99 before", float(before), "ms"),
        BenchRow(f"{label(size)} swap in one process: p99 during", float(during), "ms"),
        BenchRow(f"{label(size)} swap in one process: p99 during against before", float(during / before), "x", 2.0),
    ]


if __name__ == "__main__":
    typer.run(bench_index)
