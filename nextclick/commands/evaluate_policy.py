"""`nextclick evaluate policy`: what another policy would have earned, from the log of the one that was shown."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console

from contracts.errors import SettingsError
from contracts.outputs import expect_outputs, json_kind
from nextclick.show.policy_table import policy_table, warnings
from nextclick.show.results import write_result

if TYPE_CHECKING:  # rooms are imported when their command runs, so that help is quick
    from experiments.bandit_log import BanditLog
    from experiments.off_policy import Value, Weights

POLICY = json_kind("the result of `nextclick evaluate policy`", "machine", "policy", "weights", "values")
COLUMN = "column:"


def policy(
    log: Annotated[
        Path,
        typer.Argument(
            help="CSV or Parquet with action, reward, propensity, and position where there are several; or in the Open "
            "Bandit layout: obd.zip/random/men/men.csv."
        ),
    ],
    policy: Annotated[
        str,
        typer.Option(
            help="The other policy: uniform; a log of its own, whose shares it takes; a table of action, position, "
            "probability; or column:NAME, its probability of what the log chose."
        ),
    ],
    context: Annotated[
        list[str] | None, typer.Option(help="Columns that the reward model may read. Repeatable.")
    ] = None,
    unit: Annotated[str, typer.Option(help="Column of what belongs together, a page or a visitor.")] = "",
    resamples: Annotated[int, typer.Option(min=0, help="Resamples of the units; 0: the first interval alone.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed and input give the same figures.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write the result here as JSON.")] = None,
) -> None:
    """Estimate what another policy would have earned, by inverse propensities and doubly robust, with intervals."""
    from experiments.bandit_log import read_log
    from experiments.off_policy import own_value

    expect_outputs((out, POLICY), inputs=[log])
    rng = np.random.default_rng(seed)
    read = read_log(log, context=context or [], unit=unit)
    own = own_value(read, rng, resamples=resamples)
    values, weights, others_own = _estimated(log, read, policy, rng, resamples)
    console = Console(width=120) if not sys.stdout.isatty() else Console()
    console.print(policy_table(len(read), own, values, weights, others_own))
    for line in warnings(len(read), weights):
        Console().print(line, highlight=False, markup=False, soft_wrap=True)
    if out is not None:
        facts = {
            "rows": len(read),
            "own": asdict(own),
            "others_own": None if others_own is None else asdict(others_own),
        }
        found = {"weights": asdict(weights), "values": [asdict(one) for one in values]}
        write_result(out, {"command": sys.argv, "policy": policy, "seed": seed, **facts, **found}, POLICY)


def _estimated(
    path: Path, log: BanditLog, name: str, rng: np.random.Generator, resamples: int
) -> tuple[list[Value], Weights, Value | None]:
    """Return the estimates, what they stand on, and what the other policy earned where its own log is there."""
    from experiments.bandit_log import read_log
    from experiments.off_policy import own_value, policy_values, weighted_values, weights_of
    from experiments.policies import chosen_by_column, is_table, read_policy, shares_of, uniform

    if name.startswith(COLUMN):
        weight = chosen_by_column(path, name.removeprefix(COLUMN)) / log.propensity
        return weighted_values(log, weight, rng, resamples=resamples), weights_of(weight), None
    if name == "uniform":
        return *policy_values(log, uniform(log), rng, resamples=resamples), None
    if not Path(name).suffix:
        raise SettingsError(f"expected a --policy of uniform, {COLUMN}NAME or a file, got {name!r}")
    if is_table(Path(name)):
        return *policy_values(log, read_policy(Path(name), log), rng, resamples=resamples), None
    other = read_log(Path(name))
    found = policy_values(log, shares_of(other, log, name), rng, resamples=resamples)
    return *found, own_value(other, rng, resamples=resamples)
