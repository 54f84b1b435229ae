"""`nextclick bench index`: the live index at several sizes: recall, latency, memory, freshness, hot swap."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nextclick.bench.report import expect_bench, finish


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
    from nextclick.bench.index_rows import index_rows

    expect_bench("index")
    sizes = items or [100_000, 1_000_000]
    with_stack = live_items if live else None
    rows = index_rows(sizes, table=table, live_items=with_stack, seconds=seconds, threads=threads, trained=trained)
    finish("index", rows, "make bench-index")
