"""`nextclick experiment bandit-simulate`, `interleave-simulate`: what each earns or needs where the truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
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
    seed: int = 3,
) -> None:
    """Play a bandit against known truths; writes build/bench/bandit.json."""
    from experiments.bandit_simulation import contextual, drifting, played, stationary

    segments, cells = contextual(pages)
    worlds: list[tuple[str, Floats, Codes | None]] = [
        ("stationary", stationary(pages), None),
        ("best changes midway", drifting(pages), None),
    ]
    worlds += [("two segments, no context", segments, None), ("two segments, context", segments, cells)]
    rows: Rows = []
    for name, truth, cell in worlds:
        run = played(truth, seed=seed, cells=cell, delay=delay, half_life_ms=half_life * 1000.0, floor=floor)
        best, uniform = float(truth.max(axis=1).mean()), float(truth.mean())
        earned = best - run.regret * (best - uniform)
        rows.append({"world": name, "uniform": uniform, "bandit": earned, "best": best, "regret": run.regret})
    _shown("bandit", f"Rewards a page over {pages:,} pages; regret 1 is that of uniform", rows)


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


def _shown(name: str, title: str, rows: Rows) -> None:
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(f"{one:.4f}" if isinstance(one, float) and one < 100 else str(one) for one in row.values()))
    Console().print(table)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(rows, indent=2) + "\n")
