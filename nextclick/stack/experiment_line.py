"""A running experiment in one line: units, figures and the change with its interval. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Standing:
    """An experiment so far. The control comes first. `figures`: the metric of each variant, None for none yet; `ends`:
    of the change's interval, None while there is none, or for an end that is not known.
    """

    metric: str
    units: Mapping[str, int]
    figures: Sequence[float | None]
    lift: float | None = None
    ends: tuple[float | None, float | None] = (None, None)

    @classmethod
    def of_report(cls, report: Mapping[str, Any], metric: str) -> Self:
        """Read a judge's report: the first treatment against the control."""
        value, _, below = metric.partition("/")
        units: dict[str, int] = report["units"]
        sums: dict[str, dict[str, float]] = report["figures"]
        figures = [_ratio(sums.get(name, {}), value, below, count) for name, count in units.items()]
        compared = next((one for one in report["comparisons"] if one["metric"] == metric), None)
        if compared is None or compared["early"]:
            return cls(metric, units, figures)
        low, high = compared["lift_ends"]
        return cls(metric, units, figures, compared["lift"], (low, high))


def experiment_line(so_far: Standing, seconds: float) -> str:
    """Return the line; `seconds` is how long it runs."""
    parts = [
        f"units: {', '.join(f'{name} {count:,}' for name, count in so_far.units.items())}",
        f"{so_far.metric}: {', '.join('-' if one is None else f'{one:.3f}' for one in so_far.figures)}",
        _change(so_far),
        f"{int(seconds) // 60}:{int(seconds) % 60:02d}",
    ]
    return " · ".join(parts)


def _change(so_far: Standing) -> str:
    if so_far.lift is None or so_far.ends == (None, None):
        return "no interval yet"
    low, high = ("" if end is None else f"{end:+.0%}" for end in so_far.ends)
    return f"change {so_far.lift:+.0%} [{low}, {high}]"


def _ratio(sums: Mapping[str, float], value: str, below: str, units: int) -> float | None:
    of = sums.get(below, 0.0) if below else units
    return sums.get(value, 0.0) / of if of else None
