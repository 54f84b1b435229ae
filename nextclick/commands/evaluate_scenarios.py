"""`nextclick evaluate scenarios`: scenarios side by side on one recording."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from contracts.outputs import expect_outputs, json_kind
from nextclick.commands.evaluate_options import Out
from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.scenario_options import (
    Artifacts,
    Items,
    Limit,
    Questions,
    Seed,
    Url,
    WarmUp,
    judged,
    labels,
)
from nextclick.show.evaluation_tables import evaluation_console
from nextclick.show.results import write_result
from nextclick.show.scenario_tables import legend, side_by_side_table, told
from nextclick.show.stages import BarStages

console = evaluation_console()
SCENARIOS = json_kind("the result of `nextclick evaluate scenarios`", "machine", "command", "pages", "scenarios")


def scenarios(
    named: Annotated[list[str], typer.Argument(help="Scenarios: files, placements, or published names.")],
    events: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A recorded event log (.jsonl.zst).")],
    items: Items = None,
    columns: Columns = None,
    lists: Lists = None,
    artifacts: Artifacts = None,
    questions: Questions = 2000,
    limit: Limit = 10,
    warm_up: WarmUp = 0.5,
    out: Out = None,
    seed: Seed = 1,
    url: Url = None,
) -> None:
    """Ask a recording under several scenarios: what each hits and sells, how varied it is, and whom it shows."""
    files = [Path(one) for one in named if Path(one).is_file()]
    expect_outputs((out, SCENARIOS), inputs=[events, items, *files])
    table = table_of(items, columns, lists)
    stages = BarStages(console)
    found = judged(
        console,
        named,
        events,
        items=table,
        artifacts=artifacts,
        questions=questions,
        limit=limit,
        warm_up=warm_up,
        seed=seed,
        url=url,
        stages=stages,
    )
    console.print(side_by_side_table(labels(named), found))
    legend(console)
    if out is None:
        return
    told_of = [
        {
            "name": name,
            "figures": {figure: told(value) for figure, value in one.values.items()},
            "shown_by_supplier": one.shown_by("supplier"),
            "shown_by_price_band": one.shown_by("price_band"),
        }
        for name, one in zip(labels(named), found, strict=True)
    ]
    facts = {"pages": len(found[0].asked.session), "limit": limit, "seed": seed}
    write_result(out, {"command": sys.argv, **facts, "scenarios": told_of, "seconds": stages.seconds}, SCENARIOS)
