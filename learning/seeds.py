"""Several runs of one evaluation, each with a seed of its own: mean and spread of every row that training makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from learning.evaluate_next_item import Row

MEASURES: Final = ("hit_rate", "mrr", "ndcg")


@dataclass(frozen=True, slots=True)
class Spread:
    """One row's figures over the runs, by measure, all cases (`all`) or those with new targets (`new`)."""

    name: str
    which: str
    values: dict[str, list[float]]

    def mean(self, measure: str) -> float:
        return float(np.mean(self.values[measure]))

    def deviation(self, measure: str) -> float:
        """Return the sample's standard deviation; 0 for one run."""
        values = self.values[measure]
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def spreads(runs: Sequence[Sequence[Row]], which: str) -> list[Spread]:
    """Return the rows that every run has, in the order of the last."""
    names = [row.name for row in runs[-1] if all(any(row.name == other.name for other in run) for run in runs)]
    found = []
    for name in names:
        figures = [getattr(row, which) for run in runs for row in run if row.name == name]
        values = {measure: [getattr(one, measure).value for one in figures] for measure in MEASURES}
        found.append(Spread(name, which, values))
    return found


def described(rows: Sequence[Spread]) -> list[dict[str, object]]:
    """Return the rows for JSON."""
    return [
        {
            "name": row.name,
            "cases": row.which,
            **{one: {"mean": row.mean(one), "deviation": row.deviation(one)} for one in MEASURES},
            "values": row.values,
        }
        for row in rows
    ]
