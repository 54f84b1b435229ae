"""`nextclick scenario diff`: the price of a rule before it is published."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind, write_output
from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.scenario_options import (
    Artifacts,
    Items,
    Limit,
    Questions,
    Recording,
    Seed,
    Url,
    WarmUp,
    judged,
    labels,
)
from nextclick.show.evaluation_tables import evaluation_console
from nextclick.show.results import write_result
from nextclick.show.scenario_page import PAGE, draw
from nextclick.show.scenario_tables import difference_json, difference_table, legend, suppliers_table
from nextclick.show.stages import BarStages

console = evaluation_console()
DIFF = json_kind("the result of `nextclick scenario diff`", "machine", "command", "figures", "suppliers")


def diff(
    new: Annotated[str, typer.Argument(help="The scenario to try: a file, a placement, or a published name.")],
    old: Annotated[str, typer.Argument(help="What it is held against: a file, a placement, or a published name.")],
    recording: Recording,
    items: Items = None,
    columns: Columns = None,
    lists: Lists = None,
    artifacts: Artifacts = None,
    questions: Questions = 2000,
    limit: Limit = 10,
    warm_up: WarmUp = 0.5,
    out: Annotated[
        Path | None, typer.Option(help="Write the result here: a page (.html), or JSON (any other name).")
    ] = None,
    seed: Seed = 1,
    url: Url = None,
) -> None:
    """Ask a recording under two scenarios: what the new one costs, and whom it shows. Nothing is published."""
    from learning.scenario_figures import UNITS, compared, exposures

    is_page = out is not None and out.suffix == ".html"
    expect_outputs((out, PAGE if is_page else DIFF), inputs=[recording, items, *_files(new, old)])
    table = table_of(items, columns, lists)
    stages = BarStages(console)
    before, after = judged(
        console,
        [old, new],
        recording,
        items=table,
        artifacts=artifacts,
        questions=questions,
        limit=limit,
        warm_up=warm_up,
        seed=seed,
        url=url,
        stages=stages,
    )
    with stages.stage("intervals"):
        found = compared(before, after, seed=seed)
    suppliers = exposures(before, after)
    was, becomes = _apart(*labels([old, new]))
    console.print(difference_table(found, was, becomes))
    if suppliers:
        console.print(suppliers_table(suppliers, was, becomes))
    legend(console)
    asked = f"{len(before.asked.session):,} pages of {limit} items, asked on {recording.name}."
    console.print(asked, highlight=False)
    if out is None:
        return
    if is_page:
        write_output(out, draw(found, suppliers, UNITS, old=was, new=becomes, asked=asked).encode(), PAGE)
    else:
        facts = {"old": was, "new": becomes, "pages": len(before.asked.session), "limit": limit, "seed": seed}
        document = {"command": sys.argv, **facts, **difference_json(found, suppliers), "seconds": stages.seconds}
        write_result(out, document, DIFF)


def _files(*named: str) -> list[Path]:
    return [Path(one) for one in named if Path(one).is_file()]


def _apart(old: str, new: str) -> tuple[str, str]:
    """Return two names that differ: a file may be called like what it is put over."""
    if old != new:
        return old, new
    if not old:
        raise SettingsError("expected the names of two scenarios, got none")
    return old, f"{new} (new)"
