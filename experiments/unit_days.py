"""What units add to an experiment's moments day by day, and the sums of that over the buckets of a layer. Pure.

A look at the end of a day sees each unit that came until then, with all it did until then. So what a day adds to the
sums of squares is a unit's square after it less the one before it: then the sums of any look are cumulative sums, and
those of a variant are sums over its buckets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from contracts.assignment import BUCKETS
from experiments.moments import Floats, Moments

Ints = NDArray[np.int64]
DAY_MS: Final = 24 * 3600 * 1000
SUMS: Final = ("count", "value", "below", "value squared", "value times below", "below squared", "apart")


@dataclass(frozen=True, slots=True)
class UnitDays:
    """One metric of all units: `adds` (7, s), what `unit` (s,) adds on `day` (s,) to SUMS.

    Values stand around their centres (value, below), so that sums of squares lose no digits. `apart` counts units with
    another value than the most usual one. `values` (n,) and `belows` (n,) are those of the last day; `cap` is what
    values were cut at.
    """

    unit: Ints
    day: Ints
    adds: Floats
    centres: tuple[float, float]
    days: int
    values: Floats
    belows: Floats | None
    cap: float

    @property
    def largest(self) -> float:
        """The share that the largest unit has in the sum of all: 0 where there is none."""
        total = float(np.abs(self.values).sum())
        return float(np.abs(self.values).max()) / total if total else 0.0


@dataclass(frozen=True, slots=True)
class Amounts:
    """What units did: `unit` (m,) did `amount` (m,) more on `day` (m,)."""

    unit: Ints
    day: Ints
    amount: Floats


def unit_days(
    first_day: Ints, value: Amounts, below: Amounts | None, days: int, *, cap: float = float("inf")
) -> UnitDays:
    """Return what units add, by day. first_day: (n,) the day on which each takes part from, days or more: never."""
    there = np.flatnonzero(first_day < days)
    parts = [there * days + first_day[there]]
    for one in (value, below):
        if one is not None:
            parts.append((one.unit * days + one.day)[one.day < days])
    cells = np.unique(np.concatenate(parts))  # (s,) by unit, then by day
    unit, day = cells // days, cells % days
    starts = np.flatnonzero(np.r_[True, unit[1:] != unit[:-1]])
    ends = np.r_[starts[1:], len(cells)] - 1
    amounts = np.clip(_so_far(value, cells, starts, days), -cap, cap)
    belows = None if below is None else _so_far(below, cells, starts, days)
    usual, counts = np.unique(amounts[ends], return_counts=True)
    apart = (amounts != usual[counts.argmax()]).astype(np.float64)
    centres = (float(amounts[ends].mean()), 0.0 if belows is None else float(belows[ends].mean()))
    x, y = amounts - centres[0], np.zeros(len(cells)) if belows is None else belows - centres[1]
    adds = np.stack([np.ones(len(cells)), x, y, x * x, x * y, y * y, apart])  # (7, s), the state after each cell
    later = np.ones(len(cells), np.bool_)
    later[starts] = False
    adds[:, later] -= adds[:, np.flatnonzero(later) - 1].copy()
    return UnitDays(unit, day, adds, centres, days, amounts[ends], None if belows is None else belows[ends], cap)


def _so_far(one: Amounts, cells: Ints, starts: Ints, days: int) -> Floats:
    """Return what each unit has done at the end of each of its days, (s,)."""
    kept = one.day < days
    at = np.searchsorted(cells, (one.unit * days + one.day)[kept])
    running = np.cumsum(np.bincount(at, one.amount[kept], len(cells)))
    before = np.r_[0.0, running][starts]
    return np.asarray(running - np.repeat(before, np.diff(np.r_[starts, len(cells)])))


def bucket_sums(found: UnitDays, buckets: Ints) -> Floats:
    """Return the SUMS of each bucket after each day, (7, BUCKETS, days). buckets: of each unit, -1 for no part."""
    bucket = buckets[found.unit]
    code = bucket * found.days + found.day
    adds = found.adds
    if (bucket < 0).any():
        code, adds = code[bucket >= 0], adds[:, bucket >= 0]
    cells = BUCKETS * found.days
    by_day = np.stack([np.bincount(code, one, cells) for one in adds]).reshape(len(SUMS), BUCKETS, found.days)
    return np.asarray(by_day.cumsum(axis=2))


def moments_of(sums: Floats, found: UnitDays) -> tuple[Moments, Floats]:
    """Return moments of (value, below), and units with another value than most, from SUMS (7, ...). Empty: NaN."""
    count, x, y, xx, xy, yy, apart = sums
    n = np.where(count > 0.0, count, np.nan)
    mean = np.stack([x / n, y / n], axis=-1)  # (..., 2)
    squares = np.stack([np.stack([xx, xy], axis=-1), np.stack([xy, yy], axis=-1)], axis=-1)  # (..., 2, 2)
    scatter = squares - n[..., None, None] * mean[..., :, None] * mean[..., None, :]
    return Moments(count, mean + np.array(found.centres), scatter), np.round(apart)
