"""`nextclick scenario assert`: statements about a scenario's pages, for a shop's own CI."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.markup import escape

from contracts.errors import ImportFormatError
from contracts.outputs import expect_outputs, json_kind
from nextclick.commands.evaluate_options import Out
from nextclick.commands.item_options import Columns, Lists, table_of
from nextclick.commands.scenario_options import (
    USER,
    Artifacts,
    Items,
    Limit,
    Questions,
    Recording,
    Seed,
    Url,
    WarmUp,
    judged,
)
from nextclick.show.evaluation_tables import evaluation_console
from nextclick.show.results import write_result
from nextclick.show.scenario_tables import told
from nextclick.show.stages import BarStages

if TYPE_CHECKING:
    from expressions.statements import Statement, Verdict
    from learning.scenario_figures import Judged

console = evaluation_console()
ASSERTED = json_kind("the result of `nextclick scenario assert`", "machine", "command", "pages", "statements")
DOES_NOT_HOLD: Final = 1
"""Exit status. What cannot be read or asked ends with 1 too, and says `error`; wrong options with 2."""
_TITLES: Final = 5


def assert_statements(
    statements: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Statements, one a line.")],
    recording: Recording,
    scenario: Annotated[
        str, typer.Option(help="What is asked: a file, a placement, or a published name.")
    ] = "homepage",
    items: Items = None,
    columns: Columns = None,
    lists: Lists = None,
    artifacts: Artifacts = None,
    questions: Questions = 1000,
    limit: Limit = 10,
    warm_up: WarmUp = 0.5,
    breaking: Annotated[int, typer.Option(min=0, max=1000, help="Pages shown of a statement that does not hold.")] = 3,
    out: Out = None,
    seed: Seed = 1,
    url: Url = None,
) -> None:
    """Hold a scenario's pages to statements such as share(pages, distinct(brand) >= 3) >= 0.99.

    Exits with 0 where all hold, with 1 where one does not.
    """
    inputs = [statements, recording, items, *([Path(scenario)] if Path(scenario).is_file() else [])]
    expect_outputs((out, ASSERTED), inputs=inputs)
    wanted = _read(statements)  # first: a typing error is to be told at once
    table = table_of(items, columns, lists)
    stages = BarStages(console)
    [found] = judged(
        console,
        [scenario],
        recording,
        items=table,
        artifacts=artifacts,
        questions=questions,
        limit=limit,
        warm_up=warm_up,
        seed=seed,
        url=url,
        stages=stages,
        reads={name for one in wanted for name in one.names if name.startswith(USER)},
    )
    with stages.stage("statements"):
        frames = found.frames()
        verdicts = [one.judge(frames, found.values) for one in wanted]
    for statement, verdict in zip(wanted, verdicts, strict=True):
        _show(statement, verdict, found, breaking)
    failed = sum(not verdict.holds for verdict in verdicts)
    console.print(
        f"{len(wanted) - failed} of {len(wanted)} statements hold of {len(frames):,} pages of {limit} items",
        highlight=False,
    )
    if out is not None:
        told_of = [_document(*pair, found, breaking) for pair in zip(wanted, verdicts, strict=True)]
        facts = {"scenario": scenario, "pages": len(frames), "limit": limit, "seed": seed}
        write_result(out, {"command": sys.argv, **facts, "statements": told_of}, ASSERTED)
    raise typer.Exit(DOES_NOT_HOLD if failed else 0)


def _read(path: Path) -> list[Statement]:
    from expressions.errors import ExpressionError
    from expressions.statements import read_statements
    from learning.scenario_figures import UNITS
    from rerank.scenarios.fields import FIELDS

    try:
        return read_statements(path.read_text("utf-8"), FIELDS, UNITS)
    except ExpressionError as error:
        raise ImportFormatError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise ImportFormatError(f"{path}: expected text in UTF-8, got {error.reason} at byte {error.start}") from error


def _show(statement: Statement, verdict: Verdict, found: Judged, most: int) -> None:
    said = "[green]holds[/]         " if verdict.holds else "[bold red]does not hold[/] "
    value = "n/a" if (known := told(verdict.value)) is None else f"{known:,.4g}"
    console.print(f"{said} {escape(statement.text)}   [dim]it is[/] {value}", highlight=False, soft_wrap=True)
    for page in verdict.breaking[:most]:
        console.print(f"    {escape(_page_line(found, page))}", highlight=False, soft_wrap=True)
    left = len(verdict.breaking) - most
    if most and left > 0:
        console.print(f"    and {left:,} more pages", highlight=False)


def _page_line(found: Judged, page: int) -> str:
    shown = found.shown_on(page)
    more = ", …" if len(shown) > _TITLES else ""
    return f"{found.visit_of(page)}: {', '.join(shown[:_TITLES]) or 'an empty page'}{more}"


def _document(statement: Statement, verdict: Verdict, found: Judged, most: int) -> dict[str, Any]:
    pages = [{"visit": found.visit_of(at), "items": found.shown_on(at)} for at in verdict.breaking[:most]]
    return {
        "line": statement.line,
        "statement": statement.text,
        "value": told(verdict.value),
        "holds": verdict.holds,
        "breaking": len(verdict.breaking),
        "pages": pages,
    }
