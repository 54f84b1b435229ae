"""`nextclick experiment bandit-simulate`, `interleave-simulate`: what each earns or needs where the truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, median, stdev
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from experiments.bandit_simulation import Codes
    from experiments.thompson import Floats

OUT = Path("build/bench")
Rows = list[dict[str, str | float]]


def bandit(
    pages: Annotated[int, typer.Option(min=1_000, max=1_000_000, help="Pages, one a second.")] = 40_000,
    delay: Annotated[int, typer.Option(min=0, help="Pages until a reward is known.")] = 60,
    half_life: Annotated[float, typer.Option(min=1.0, help="Seconds until a page has half its weight.")] = 7200,
    floor: Annotated[float, typer.Option(min=0.0, max=0.33, help="Smallest share of each of the 3 variants.")] = 0.02,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 3,
    seeds: Annotated[int, typer.Option(min=2, max=100, help="Runs of each truth, with a seed each.")] = 10,
) -> None:
    """Play a bandit against known truths, with 95% intervals over the seeds; writes build/bench/bandit.json."""
    from experiments.bandit_simulation import contextual, drifting, played, stationary

    segments, cells = contextual(pages)
    worlds: list[tuple[str, Floats, Codes | None]] = [
        ("stationary", stationary(pages), None),
        ("best changes midway", drifting(pages), None),
    ]
    worlds += [("two segments, no context", segments, None), ("two segments, context", segments, cells)]
    rows: Rows = []
    for name, truth, cell in worlds:
        regrets = [
            played(truth, seed=one, cells=cell, delay=delay, half_life_ms=half_life * 1000.0, floor=floor).regret
            for one in range(seed, seed + seeds)
        ]
        best, uniform = float(truth.max(axis=1).mean()), float(truth.mean())
        regret, low, high = _mean_with_ends(regrets)
        earned = best - regret * (best - uniform)
        figures = {"uniform": uniform, "bandit": earned, "best": best, "regret": regret}
        rows.append({"world": name, **figures, "from": low, "to": high})
    _shown("bandit", f"Rewards a page over {pages:,} pages, {seeds} seeds; regret 1 is that of uniform", rows)


def interleave(
    pages: Annotated[int, typer.Option(min=1_000, max=200_000, help="Pages at most.")] = 10_000,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Runs; the median is shown.")] = 5,
) -> None:
    """Compare the pages that two rankings need, interleaved and in two groups; writes build/bench/interleaving.json."""
    from experiments.interleaving_simulation import pages_needed

    rows: Rows = []
    for second in (0.3, 0.5):
        found = [pages_needed(pages, seed, (1.0, second)) for seed in range(runs)]
        one, two = (median(pair[at] or pages for pair in found) for at in (0, 1))
        open_runs = sum(pair[1] is None for pair in found)
        rows.append({"noise of both": f"1.0, {second}", "interleaved": one, "A/B": two, "A/B not ended": open_runs})
    _shown("interleaving", f"Median pages of {runs} runs until the interval leaves out 0", rows)


def _mean_with_ends(found: list[float]) -> tuple[float, float, float]:
    """Return the mean of some runs, and the ends of Student's 95% interval."""
    from scipy.stats import t

    middle, half = mean(found), float(t.ppf(0.975, len(found) - 1)) * stdev(found) / len(found) ** 0.5
    return middle, middle - half, middle + half


def _shown(name: str, title: str, rows: Rows) -> None:
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{one:.4f}" if isinstance(one, float) and one < 100 else str(one) for one in row.values()))
    Console().print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")
