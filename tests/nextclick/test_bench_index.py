"""Parts of the index bench that its figures stand on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import typer

from nextclick.bench import index_files as bench_index_files
from nextclick.bench.index import parse_size
from nextclick.bench.index_live import Load, send_at_rate, shop_items
from nextclick.bench.vectors import DIM
from retrieval.graph import GraphOptions, map_graph, nearest


@pytest.mark.parametrize(("typed", "items"), [("100k", 100_000), ("3M", 3_000_000), ("2500", 2500), (7, 7)])
def test_sizes_are_read_as_people_write_them(typed: str | int, items: int) -> None:
    assert parse_size(typed) == items


@pytest.mark.parametrize("typed", ["", "k", "0M", "many", "-1k", "1.5M"])
def test_what_is_no_size_is_refused(typed: str) -> None:
    with pytest.raises(typer.BadParameter, match="expected a number of items such as 100k"):
        parse_size(typed)


def test_an_interrupted_graph_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench_index_files, "_STEP", 500)
    monkeypatch.setattr(bench_index_files, "_KEPT_EVERY", 1000)
    options, told = GraphOptions("bf16", 8, 32), list[str]()

    def stop_at_1500(step: str) -> None:
        if "1,500 of" in step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_index_files.graph_file(2000, options, 1, stop_at_1500)
    path = bench_index_files.graph_file(2000, options, 1, told.append)
    assert [step.partition(":")[2].split(" of")[0].strip() for step in told if "of 2,000" in step] == ["1,000", "1,500"]
    graph, vectors = map_graph(path, DIM, options), bench_index_files.vectors_of(2000, told.append)
    assert len(graph) == 2000
    assert nearest(graph, np.asarray(vectors[1999]), 1)[0].tolist() == [1999]
    assert bench_index_files.built_with(path)["cpu_s"] > 0


def test_requests_are_counted_from_when_they_were_due_and_failures_apart() -> None:
    async def send(number: int) -> bool:
        if number == 1:
            raise ConnectionResetError
        return number != 2

    load = asyncio.run(send_at_rate(send, rate=1000.0, seconds=0.01))
    assert (len(load.took_ms), load.failed) == (10, 2)
    assert np.diff(sorted(load.due_s)) == pytest.approx(0.001, abs=1e-6)


def test_only_requests_due_in_a_window_count_for_the_swap() -> None:
    load = Load([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 40.0])
    assert load.within([(1.5, 2.5), (4.0, 5.0)]).took_ms == [20.0, 40.0]


def test_the_live_bench_puts_different_items_from_a_seed() -> None:
    items = shop_items(20_000)
    assert items == shop_items(20_000)
    assert len({str(item) for item in items}) > 15_000
