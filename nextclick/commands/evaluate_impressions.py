"""`nextclick evaluate impressions`: pages that a site showed, ranked again by what serves, beside the order shown."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from contracts.outputs import expect_outputs, json_kind
from nextclick.show.evaluation_tables import impressions_table
from nextclick.show.results import write_result
from nextclick.show.stages import BarStages

console = Console()
IMPRESSIONS = json_kind("the result of `nextclick evaluate impressions`", "machine", "passed_over", "rows", "seconds")


def impressions(
    events: Annotated[
        list[Path], typer.Argument(exists=True, help="Recorded event logs (.jsonl.zst) with impressions, oldest first.")
    ],
    train_share: Annotated[float, typer.Option(help="First share of the events: session models learn from it.")] = 0.5,
    rank_share: Annotated[float, typer.Option(help="Next share: the rankers learn from it. The rest is asked.")] = 0.25,
    passed_over: Annotated[int, typer.Option(help="Items shown above a click that are its negatives, at most.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and input give the same figures.")] = 1,
) -> None:
    """Rank the items of pages again, with and without session models that learnt what was passed over."""
    from eventlog.files import read_events
    from learning.evaluate_impressions import rank_again

    expect_outputs((out, IMPRESSIONS), inputs=events)
    stages = BarStages(console)
    with stages.stage("reading"):
        log = list(chain.from_iterable(read_events(path) for path in events))
    cuts = (int(len(log) * train_share), int(len(log) * (train_share + rank_share)))
    rows, facts = rank_again(log, cuts, passed_over=passed_over, seed=seed, stages=stages)
    console.print(impressions_table(rows, facts))
    for name, change in facts["changes"].items():
        console.print(f"{name}: MRR {change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}]", highlight=False)
    if out is not None:
        found = [{"name": row.name, "mrr": row.mrr, "first": row.first} for row in rows]
        asked = {"passed_over": passed_over, "seed": seed, "events": len(log), "cuts": cuts}
        write_result(
            out, {"command": sys.argv, **asked, **facts, "rows": found, "seconds": stages.seconds}, IMPRESSIONS
        )
