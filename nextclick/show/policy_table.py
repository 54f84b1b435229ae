"""What a policy would have earned, as a table, and when that is not to be believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rich.table import Table

if TYPE_CHECKING:
    from experiments.off_policy import Value, Weights

FEWEST_EFFECTIVE: Final = 100
_MOST_UNSUPPORTED: Final = 0.01
NAMES: Final = {"own": "the log's own", "ips": "inverse propensity", "snips": "self-normalised", "dr": "doubly robust"}


def policy_table(rows: int, own: Value, values: list[Value], weights: Weights, others_own: Value | None) -> Table:
    title = f"Reward a row, {rows:,} rows worth {weights.effective:,.0f}, weights {weights.mean:.3f} on average"
    table = Table("estimate", title=title, min_width=len(title) + 2)
    for name in ("value", "95% interval", "95%, resampled"):
        table.add_column(name, justify="right")
    if others_own is not None:
        table.add_column("holds what it earned", justify="right")
    for one in [own, *values, *([others_own] if others_own else [])]:
        compared = () if others_own is None else (_holds(one, others_own) if one in values else "",)
        label = "the policy's own log" if one is others_own else NAMES[one.name]
        table.add_row(label, f"{one.value:.5f}", *_intervals(one), *compared)
    return table


def _intervals(one: Value) -> tuple[str, str]:
    drawn = f"{one.drawn_low:.5f} to {one.drawn_high:.5f}" if one.drawn_low == one.drawn_low else "-"
    return f"{one.low:.5f} to {one.high:.5f}", drawn


def _holds(one: Value, other: Value) -> str:
    found = one.holds(other.value), one.drawn_low <= other.value <= one.drawn_high
    return ", ".join("yes" if held else "no" for held in (found if one.drawn_low == one.drawn_low else found[:1]))


def warnings(rows: int, weights: Weights) -> Iterator[str]:
    """Yield why the estimates may be wrong."""
    if weights.effective < FEWEST_EFFECTIVE:
        yield (
            f"Not to be believed: {rows:,} rows are worth {weights.effective:,.0f} here, the largest weight is "
            f"{weights.largest:,.0f}. Log a policy that tries more, or evaluate one that is nearer to it."
        )
    if weights.unsupported > _MOST_UNSUPPORTED:
        yield (
            f"{weights.unsupported:.1%} of the policy's choices are actions that the log never made in that place: "
            "inverse propensity counts them as earning nothing."
        )
    if abs(weights.off) > 3.0:
        yield (
            f"Weights are {weights.mean:.3f} on average, {weights.off:+.1f} standard errors from 1: the logged "
            "propensities are not those that the log was made with."
        )
