"""`nextclick experiment simulate`: an A/A certificate from a recording, before the experiment begins."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind
from nextclick.show.certificate_tables import balance_table, judged_table, power_table, recorded_table, shares_said
from nextclick.show.evaluation_tables import evaluation_console
from nextclick.show.results import write_result
from nextclick.show.stages import BarStages, warn

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from contracts.experiments import Experiment
    from experiments.certificate import Certificate, Setup
    from experiments.recorded_units import UnitOf

CERTIFICATE = json_kind("the result of `nextclick experiment simulate`", "machine", "verdict", "certificate")
LIFTS: Final = (0.02, 0.05, 0.1)


def simulate(
    recording: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="Recorded events (.jsonl.zst); one or more.")
    ],
    experiment: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The document (JSON), as `put` takes it."),
    ] = None,
    name: Annotated[str, typer.Option(help="The experiment's name; none: the file's, or `simulated`.")] = "",
    shares: Annotated[str, typer.Option(help="Without a document: shares of all units, the control's first.")] = "",
    unit: Annotated[str, typer.Option(help="session or user; none: the document's, or session.")] = "",
    metric: Annotated[
        list[str] | None,
        typer.Option(help="views, pages, clicks, carts, orders, revenue, or a ratio: clicks/pages. Repeatable."),
    ] = None,
    cap: Annotated[
        list[str] | None, typer.Option(help="METRIC=0.99: values above this share of those over 0 count as it.")
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, help="Days from the first event on; none: all of the recording.")
    ] = None,
    planned: Annotated[
        int | None, typer.Option(min=100, help="Units that are planned; none: the document's, or all that take part.")
    ] = None,
    lift: Annotated[list[float] | None, typer.Option(help="Lift to plant: 0.05 is 5%. Repeatable.")] = None,
    runs: Annotated[int, typer.Option(min=20, max=100_000, help="Experiments without effect.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
) -> None:
    """Run an experiment without effect on recorded units, many times: do shares, intervals and power hold?

    Exits with 1 where the experiment is not certified.
    """
    from contracts.settings import ServiceSettings
    from experiments.certificate import certificate
    from experiments.horizon import expect_tea_tasting
    from experiments.recorded_metrics import counted, days_of, metrics_in, named
    from experiments.recorded_units import read_units

    expect_tea_tasting()
    expect_outputs((out, CERTIFICATE), inputs=recording)
    lifts = list(LIFTS) if lift is None else lift
    if not all(one > -1.0 and abs(one) > 1e-6 for one in lifts):
        raise SettingsError(f"expected lifts above -1 other than 0 (0.05 is 5%), got {', '.join(map(str, lifts))}")
    document = _document(experiment, shares)
    settings, console = ServiceSettings(), evaluation_console()
    stages, by = BarStages(console), _unit(unit or document.unit)
    with stages.stage("read") as bar:
        found = read_units(
            recording, unit=by, click_ms=settings.attribution.click_ms, types=settings.events.types, progress=bar.show
        )
    length = days or days_of(found)
    totals = found.totals()
    console.print(recorded_table(totals, len(found.units), length, by))
    for text in _notes(document, found.without, found.unpaged, by):
        warn(console, text)
    asked = metric or metrics_in(totals, [document.metric, *document.guardrails] if experiment is not None else [])
    metrics = counted(found, named(asked, cap or [], totals), length)
    setup = _setup(document, name or _stem(experiment), planned)
    with stages.stage("assign") as bar:
        told = certificate(setup, found.units, metrics, lifts=lifts, runs=runs, progress=bar.show)
    _show(console, told)
    if out is not None:
        result = {"command": sys.argv, "verdict": told.verdict, "wrong": told.wrong, "recorded": totals}
        write_result(out, {**result, "certificate": asdict(told)}, CERTIFICATE)
    if told.wrong:
        raise typer.Exit(1)


def _show(console: Console, told: Certificate) -> None:
    console.print(balance_table(told))
    console.print(shares_said(told.balance), highlight=False, soft_wrap=True)
    console.print(judged_table(told))
    for one in told.metrics:
        if one.power:
            console.print(power_table(one, told.days))
    Console().print(told.verdict, highlight=False, markup=False, soft_wrap=True)


def _document(path: Path | None, shares: str) -> Experiment:
    """Return the document of a file, or one of plain variants with these shares."""
    from contracts.experiments import Experiment
    from nextclick.stack.experiment_files import read_experiment

    if path is not None:
        if shares:
            raise SettingsError("expected --experiment or --shares, got both: the document has its shares")
        return Experiment.model_validate(read_experiment(path))
    try:
        parts = [float(word) for word in (shares or "0.5,0.5").split(",")]
        names = ["control", *"bcdefghij"][: len(parts)]
        variants = [{"name": name, "share": part} for name, part in zip(names, parts, strict=True)]
        return Experiment.model_validate({"scenario": "homepage", "variants": variants})
    except ValueError as error:
        why = " ".join(str(error).split())[:200]
        raise SettingsError(f"--shares: expected 2 to 10 shares of at most 1 together, got {shares!r}: {why}") from None


def _setup(document: Experiment, name: str, planned: int | None) -> Setup:
    from experiments.certificate import Setup

    return Setup(
        name=name,
        layer=document.in_layer,
        shares={variant.name: variant.share for variant in document.variants},
        holdout=document.holdout,
        planned=planned or document.planned_units or 0,
    )


def _unit(given: str) -> UnitOf:
    if given not in ("session", "user"):
        raise SettingsError(f"expected --unit session or user, got {given!r:.60}")
    return "user" if given == "user" else "session"


def _stem(path: Path | None) -> str:
    return "simulated" if path is None else path.stem


def _notes(document: Experiment, without: int, unpaged: int, unit: str) -> list[str]:
    """Return what of the recording, or of the document, is left out."""
    notes = []
    if without:
        notes.append(f"{without:,} events without a {unit} are left out.")
    if unpaged:
        notes.append(f"{unpaged:,} {unit}s that never saw a page take no part.")
    if document.segment is not None:
        notes.append("The segment is not asked: all recorded units take part.")
    return notes
