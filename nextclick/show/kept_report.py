"""The report that a gateway keeps of an experiment (`report` of `GET /api/experiments/{name}`), as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def kept_tables(report: Mapping[str, Any]) -> list[Table]:
    """Return units by variant with the sample ratio, and the comparisons."""
    return [_units_table(report), _comparison_table(report)]


def _units_table(report: Mapping[str, Any]) -> Table:
    p = (report.get("sample_ratio") or {}).get("p")
    title = "Sample ratio: too few units to tell" if p is None else f"Sample ratio: p = {p:.3g}"
    table = Table("variant", title=title, min_width=len(title) + 2)
    table.add_column("units", justify="right")
    for name, units in report["units"].items():
        table.add_row(name, f"{units:,}")
    for why, units in (report.get("left_out") or {}).items():
        table.add_row(f"left out: {why.replace('_', ' ')}", f"{units:,}")
    return table


def _comparison_table(report: Mapping[str, Any]) -> Table:
    table = Table("metric", "variant", title="Against the control: 95% intervals, always valid")
    for name in ("control", "treatment", "change", "interval", "p corrected"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for one in report["comparisons"]:
        note = [str(one["early"])] if one.get("early") else []
        note += ["guardrail"] if one.get("guardrail") else []
        figures = (_number(value, ".4g") for value in one["figures"])
        change = _number(one["lift"], "+.2%") if one["lift"] is not None else _number(one["difference"], "+.4g")
        ends = "not yet" if one.get("early") else _ends(one)
        told = (one["metric"], one["treatment"], *figures, change, ends, _number(one["corrected"], ".4f"))
        table.add_row(*told, "; ".join(note))
    return table


def _ends(one: Mapping[str, Any]) -> str:
    if None in one["lift_ends"]:
        return " to ".join(_number(end, "+.4g") for end in one["ends"])
    return " to ".join(_number(end, "+.2%") for end in one["lift_ends"])


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
