"""Sums of an experiment by hour: pages and the clicks they earned, by variant and what is known of the visitor.

They say in a few numbers what all its units' rows say, so that whoever decides within seconds need not read those.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Final, NamedTuple

import orjson

from attribution.cells import Cells
from attribution.facts import SCALE

HOURS_A_DAY: Final = 24
COUNTED: Final = ("pages", "clicks")


class VariantHour(NamedTuple):
    """One hour (since 1970) of a variant, for visitors of one kind."""

    hour: int
    variant: str
    device: str
    returning: str
    pages: float
    clicks: float


def sums_of(cells: Cells) -> dict[tuple[str, int], dict[bytes, int]]:
    """Return what cells add to sums, by experiment and day, then by field."""
    found: dict[tuple[str, int], Counter[bytes]] = defaultdict(Counter)
    for (hour, dims, counter), count in cells.items():
        if count and dims.experiment and counter in COUNTED:
            field = orjson.dumps([hour, dims.variant, dims.device, dims.returning, counter])
            found[dims.experiment, hour // HOURS_A_DAY][field] += count
    return {key: dict(fields) for key, fields in found.items()}


def hours_of(sums: Mapping[bytes, int]) -> list[VariantHour]:
    """Read sums, by hour, variant and kind of visitor; what is none is left out."""
    found: dict[tuple[int, str, str, str], dict[str, int]] = defaultdict(dict)
    for field, count in sums.items():
        try:
            hour, variant, device, returning, counter = orjson.loads(field)
        except (ValueError, TypeError):
            continue  # damage: nobody can say what was counted
        if isinstance(hour, int) and all(isinstance(one, str) for one in (variant, device, returning, counter)):
            found[hour, variant, device, returning][counter] = count
    return [
        VariantHour(*of, counts.get("pages", 0) / SCALE, counts.get("clicks", 0) / SCALE)
        for of, counts in sorted(found.items())
    ]
