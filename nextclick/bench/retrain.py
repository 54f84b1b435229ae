"""What training takes by the number of clicks: both models on N, 2 N and 4 N clicks of the synthetic shop, each in a
process of its own, and where the slope leads at ten million.

Processor time is what counts: others use the machine too. The line through the sizes is fitted by least squares; the
share of it that does not grow with the clicks is its constant.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np

from eventlog.files import write_events, write_items
from nextclick.bench.report import BenchRow, console, expect_bench, finish
from replay.synthetic.shoppers import default_shop, shoppers

WANTED: Final = 10_000_000
CORES: Final = 2
TARGET_H: Final = 2.0
CLICKS_A_VISIT: Final = 4
"""Fewer than a visit has, so that visits are enough."""
START_MS: Final = 1_790_000_000_000
VISITS_A_DAY: Final = 20_000


def write_clicks(count: int, events: Path, items: Path) -> None:
    """Write so many clicks of the shop, as dense in time whatever their number, and its items."""
    shop, visits = default_shop(), count // CLICKS_A_VISIT + 100
    span_ms = int(86_400_000 * max(1.0, visits / VISITS_A_DAY))
    made = shoppers(shop, visits, np.random.default_rng(7), start_ms=START_MS, span_ms=span_ms)
    write_events(events, islice(made, count))
    write_items(items, shop.items)


def measured(clicks: int, settings: Path | None) -> tuple[float, float]:
    """Return the processor time of a training, in seconds, and the most memory that a child took, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        events, items, out = (Path(folder) / name for name in ("e.jsonl.zst", "i.jsonl.zst", "models"))
        write_clicks(clicks, events, items)
        command = [sys.executable, "-m", "nextclick", "train", "models", str(events)]
        command += ["--items", str(items), "--out", str(out)]
        command += ["--settings", str(settings)] if settings is not None else []
        before = _spent()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False, text=True)
        if done.returncode:
            raise SystemExit(f"training failed: {done.stderr[-500:]}")
        return _spent() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def told(clicks: int, seconds: float, peak_mb: float) -> tuple[float, float]:
    """Say a figure as soon as it is there."""
    console.print(f"{clicks:,} clicks: {seconds:,.1f} s of processor time, {peak_mb:,.0f} MB")
    return seconds, peak_mb


def line_through(clicks: Sequence[int], seconds: Sequence[float]) -> tuple[float, float]:
    """Return the constant, in seconds, and the seconds a click, of the least-squares line; neither is negative."""
    slope, constant = np.polyfit(np.array(clicks, float), np.array(seconds, float), 1)
    return max(0.0, float(constant)), max(0.0, float(slope))


def rows_of(clicks: Sequence[int], seconds: Sequence[float], peak_mb: Sequence[float]) -> list[BenchRow]:
    """Return the figures, with what ten million clicks would take on two cores."""
    rows = [BenchRow(f"{n:,} clicks: processor time", taken, "s") for n, taken in zip(clicks, seconds, strict=True)]
    constant, slope = line_through(clicks, seconds)
    doubled = (seconds[-1] / seconds[0]) ** (1 / np.log2(clicks[-1] / clicks[0]))
    hours = (constant + slope * WANTED) / CORES / 3600
    return [
        *rows,
        BenchRow("twice the clicks take", float(doubled), "times as long"),
        BenchRow("of each further click", 1000 * slope, "ms"),
        BenchRow("memory of the largest", peak_mb[-1], "MB"),
        BenchRow(f"{WANTED:,} clicks on {CORES} cores, extrapolated", hours, "h", TARGET_H),
    ]


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=10_000, help="N; twice and four times as many are trained too")
    parser.add_argument("--settings", type=Path, default=None, help="TOML file of training settings")
    options = parser.parse_args()
    expect_bench("retrain")
    os.nice(5)
    clicks = [options.clicks * times for times in (1, 2, 4)]
    taken = [told(count, *measured(count, options.settings)) for count in clicks]
    rows = rows_of(clicks, [seconds for seconds, _ in taken], [peak for _, peak in taken])
    finish("retrain", rows, f"make bench-retrain ARGS='--clicks {options.clicks}'")


if __name__ == "__main__":
    main()
