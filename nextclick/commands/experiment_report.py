"""`nextclick experiment report`: the figures of an experiment from a table of its units, and what they support."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind
from nextclick.show.evaluation_tables import evaluation_console
from nextclick.show.experiment_tables import report_tables, segment_table
from nextclick.show.results import write_result

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from experiments.asked import Metric

REPORT = json_kind("the result of `nextclick experiment report`", "machine", "decision", "sample_ratio", "comparisons")


def report(
    units: Annotated[
        Path, typer.Argument(help="A row a unit (visitor or session): CSV, Parquet, or archive.zip/folder/table.csv.")
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="Column, or clicks/pages for a ratio. The first one decides. Repeatable.")
    ] = None,
    variant: Annotated[str, typer.Option(help="Column that holds the variant.")] = "variant",
    control: Annotated[str, typer.Option(help="The variant that is compared with; none: control, A or 0.")] = "",
    share: Annotated[
        list[str] | None, typer.Option(help="VARIANT=SHARE of the traffic; none: equal ones. Repeatable.")
    ] = None,
    covariate: Annotated[
        list[str] | None, typer.Option(help="METRIC=COLUMN: the same before the experiment (CUPED). Repeatable.")
    ] = None,
    cap: Annotated[
        list[str] | None, typer.Option(help="METRIC=0.99: values above this share of those over 0 count as it.")
    ] = None,
    lower_is_better: Annotated[list[str] | None, typer.Option(help="Metrics that should fall. Repeatable.")] = None,
    guardrail: Annotated[list[str] | None, typer.Option(help="Metrics that must not get worse. Repeatable.")] = None,
    planned: Annotated[
        int | None,
        typer.Option(min=1, help="Units of all variants that are planned: set it before the first look. None: 20,000."),
    ] = None,
    fixed: Annotated[
        bool, typer.Option("--fixed", help="Fixed-horizon intervals instead: narrower, for one look alone.")
    ] = False,
    correction: Annotated[str, typer.Option(help="For several metrics: holm, benjamini-hochberg or none.")] = "holm",
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Rate of false findings.")] = 0.05,
    by: Annotated[str, typer.Option(help="Column of segments: the first metric in each of them.")] = "",
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
) -> None:
    """Show what each variant changed, whether its units hold their shares, and the decision that this supports.

    Of a table of interleaved pages (`first`, `second`, `credit`) and without --metric: which variant is preferred.
    """
    from experiments.asked import PLANNED, Asked, pairs_of
    from experiments.decision import decision
    from experiments.report import by_segment
    from experiments.report import report as reported
    from experiments.tables import names_in, read_table

    expect_outputs((out, REPORT), inputs=[units])
    if not metric and {"first", "second", "credit"} <= set(names_in(units)):
        _preferred(units, planned or PLANNED, out)
        return
    shares = {name: _number(word, "--share") for name, word in pairs_of(share or [], "--share").items()}
    asked = Asked(
        metrics=_metrics(metric or [], covariate or [], cap or [], lower_is_better or []),
        guardrails=frozenset(guardrail or []),
        control=control,
        shares=shares or None,
        planned=planned or PLANNED,
        alpha=alpha,
        correction=correction,
        fixed=fixed,
    )
    numbers = [column for one in asked.metrics for column in one.columns]
    table = read_table(units, numbers=numbers, texts=[variant, *([by] if by else [])])
    found = reported(table, variant, asked)
    parts = by_segment(table, variant, by, asked) if by else {}
    console = evaluation_console()
    for shown in [*report_tables(found), *([segment_table(by, parts)] if by else [])]:
        console.print(shown)
    sentence = decision(found)
    Console().print(sentence, highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        facts = {"sample_ratio": asdict(found.ratio), "comparisons": [asdict(one) for one in found.comparisons]}
        segments = {name: [asdict(one) for one in part.comparisons] for name, part in parts.items()}
        write_result(out, {"command": sys.argv, "decision": sentence, **facts, "segments": segments}, REPORT)


def _preferred(units: Path, planned: int, out: Path | None) -> None:
    from experiments.preference import preferred, said
    from experiments.tables import read_table

    found = preferred(read_table(units, numbers=["credit"], texts=["first", "second"]), planned)
    sentence = said(found)
    Console().print(sentence, highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        facts = {"decision": sentence, "preference": asdict(found), "sample_ratio": None, "comparisons": list[str]()}
        write_result(out, {"command": sys.argv, **facts}, REPORT)


def _metrics(names: list[str], past: list[str], caps: list[str], falling: list[str]) -> tuple[Metric, ...]:
    from experiments.asked import Metric, pairs_of

    before, shares = pairs_of(past, "--covariate"), pairs_of(caps, "--cap")
    stray = next((name for name in (*before, *shares, *falling) if name not in names), None)
    if stray is not None:
        raise SettingsError(f"expected options of the metrics {', '.join(names)}, got one of {stray!r}: add --metric")
    return tuple(
        Metric.of(
            name,
            past=before.get(name, ""),
            cap_share=_number(shares.get(name, "1"), "--cap"),
            lower_is_better=name in falling,
        )
        for name in names
    )


def _number(word: str, option: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise SettingsError(f"{option}: expected a number behind `=`, got {word!r}") from None
