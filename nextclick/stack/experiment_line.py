"""A running experiment in one line: units, figures and the change with its interval. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Counted:
    """A variant so far: its units, and the sums that its metric is the ratio of."""

    variant: str
    units: int
    value: float
    of: float


def experiment_line(metric: str, counted: Sequence[Counted], report: Mapping[str, Any] | None, seconds: float) -> str:
    """Return the line. counted: the control first. report: what the judge wrote last, None before that."""
    units = ", ".join(f"{one.variant} {one.units:,}" for one in counted)
    figures = ", ".join(f"{one.value / one.of:.2f}" for one in counted if one.of)
    parts = [
        f"units: {units or 'none yet'}",
        f"{metric}: {figures}" if figures else "",
        _change(counted, report, metric),
    ]
    return " · ".join([*filter(None, parts), f"{int(seconds) // 60}:{int(seconds) % 60:02d}"])


def _change(counted: Sequence[Counted], report: Mapping[str, Any] | None, metric: str) -> str:
    """Return the change with its interval; without an interval yet, that of the figures."""
    compared = [one for one in (report or {}).get("comparisons") or () if one.get("metric") == metric]
    if compared and not compared[0].get("early") and compared[0].get("lift") is not None:
        return f"change {compared[0]['lift']:+.0%}{_ends(compared[0].get('lift_ends'))}"
    if len(counted) == 2 and all(one.of for one in counted) and counted[0].value:
        before, after = (one.value / one.of for one in counted)
        return f"change {after / before - 1:+.0%}, no interval yet"
    return ""


def _ends(ends: Sequence[float | None] | None) -> str:
    low, high = ends or (None, None)
    if low is None and high is None:
        return ", no interval yet"
    return f" [{'' if low is None else f'{low:+.0%}'}, {'' if high is None else f'{high:+.0%}'}]"
