"""The units of an experiment as a table that reports are made of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from attribution.participants import COLUMNS, Participant, Participants
from contracts.experiments import COUNTED, ExperimentVersion
from experiments.tables import Table, Texts

VARIANT: Final = "variant"
SEGMENTS: Final = ("device",)
SHOWN: Final = ("pages", "shown", "clicks", "carts", "orders", "revenue")
"""Sums that a report has of each variant."""


def counted(found: Participants, version: ExperimentVersion) -> tuple[list[Participant], dict[str, int]]:
    """Return the units that count, and how many do not: `others` are of variants that are there no more."""
    names = {variant.name for variant in version.experiment.variants}
    testers = version.experiment.overrides
    own = [row for row in found.rows if row.unit not in testers]
    kept = [row for row in own if row.variant in names]
    left_out = {
        "switched": found.switched,
        "held_out": found.held_out,
        "testers": found.testers + len(found.rows) - len(own),
        "others": len(own) - len(kept),
    }
    return kept, left_out


def table_of(rows: Sequence[Participant], variants: Sequence[str]) -> Table:
    """Return units as columns. Every variant has a code, in order, also one without a unit."""
    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(COLUMNS, ())
    texts = {VARIANT: _coded(columns[VARIANT], variants)}
    texts |= {name: _coded(columns[name], tuple(dict.fromkeys(columns[name]))) for name in SEGMENTS}
    return Table(len(rows), {name: np.array(columns[name], dtype=np.float64) for name in COUNTED}, texts)


def sums(table: Table, variants: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return what the units of each variant were shown and did, together."""
    codes, size = table.texts[VARIANT].codes, len(variants)
    by_name = {name: np.bincount(codes, table.numbers[name], size).tolist() for name in SHOWN}
    return {
        variant: {name: round(totals[at], 4) for name, totals in by_name.items()} for at, variant in enumerate(variants)
    }


def units(table: Table, variants: Sequence[str]) -> list[int]:
    """Return how many units each variant has."""
    found: list[int] = np.bincount(table.texts[VARIANT].codes, minlength=len(variants)).tolist()
    return found


def _coded(words: Sequence[str], names: Sequence[str]) -> Texts:
    codes = {name: at for at, name in enumerate(names)}
    return Texts(np.fromiter((codes[word] for word in words), np.int64, len(words)), tuple(names))
