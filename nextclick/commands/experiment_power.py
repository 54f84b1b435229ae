"""`nextclick experiment power`: how many units and days an experiment takes, and what so many days can find."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from contracts.errors import SettingsError
from nextclick.show.experiment_tables import found_table, need_table

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from experiments.effects import Columns
    from experiments.moments import Moments

WEEKS = (7, 14, 28)


def power(
    units_a_day: Annotated[float, typer.Option(min=1.0, help="Units that come a day, control and treatment together.")],
    lift: Annotated[list[float] | None, typer.Option(help="Lift to find: 0.05 is 5%. Repeatable.")] = None,
    units: Annotated[
        Path | None, typer.Option(help="Units without the treatment, a row each: CSV or Parquet; with --metric.")
    ] = None,
    metric: Annotated[str, typer.Option(help="Column of that file, or clicks/pages.")] = "",
    covariate: Annotated[str, typer.Option(help="Column of that file: the same before (CUPED).")] = "",
    mean: Annotated[float | None, typer.Option(help="Without a file: the metric's mean today.")] = None,
    deviation: Annotated[
        float | None, typer.Option(help="Its standard deviation over units; none: the metric is 0 or 1 a unit.")
    ] = None,
    treatment_share: Annotated[float, typer.Option(min=0.01, max=0.99, help="Share of the treatment.")] = 0.5,
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.5, help="Rate of false findings.")] = 0.05,
    power: Annotated[float, typer.Option(min=0.5, max=0.999, help="How often such a lift is to be found.")] = 0.8,
) -> None:
    """Say how many units and days a lift takes, by one look at the end and looking every day."""
    from experiments.horizon import expect_tea_tasting
    from experiments.planning import lift_found, need

    expect_tea_tasting()
    lifts = lift or [0.01, 0.02, 0.05, 0.1]
    if not all(abs(one) > 1e-6 and one > -1.0 for one in lifts):
        raise SettingsError(f"expected lifts above -1 other than 0 (0.05 is 5%), got {', '.join(map(str, lifts))}")
    before, columns = _from_file(units, metric, covariate) if units is not None else _from_mean(mean, deviation)
    ratio = treatment_share / (1.0 - treatment_share)
    options = {"alpha": alpha, "power": power, "ratio": ratio}
    needs = [need(before, one, units_a_day, columns, **options) for one in lifts]
    console, known = Console(), needs[0]
    console.print(need_table(needs, units_a_day, power))
    units_in = {days: days * units_a_day for days in WEEKS}
    rows = [
        (days, abs(lift_found(known, n, daily=False)), abs(lift_found(known, n, daily=True)))
        for days, n in units_in.items()
    ]
    console.print(found_table(rows))


def _from_file(path: Path, metric: str, covariate: str) -> tuple[Moments, Columns]:
    from experiments.asked import Asked, Metric
    from experiments.report import columns_of
    from experiments.tables import read_table

    [one] = Asked(metrics=(Metric.of(metric, past=covariate),) if metric else ()).metrics
    return columns_of(read_table(path, numbers=one.columns, texts=[]), one)


def _from_mean(mean: float | None, deviation: float | None) -> tuple[Moments, Columns]:
    from experiments.effects import VALUE
    from experiments.moments import Moments

    if mean is None or mean == 0.0:
        raise SettingsError(
            "expected --units FILE and --metric, or the metric's --mean today (other than 0), got neither"
        )
    if deviation is None and not 0.0 < mean < 1.0:
        raise SettingsError(
            f"expected the --deviation of a metric that is no share of units, got a mean of {mean} alone"
        )
    spread = mean * (1.0 - mean) if deviation is None else deviation**2
    count = 1_000_000.0
    return Moments.from_sums(np.float64(count), mean * count, spread * (count - 1.0) + mean * mean * count), VALUE
