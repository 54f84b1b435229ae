"""Which of two interleaved rankings is preferred, with an interval that may be looked at every day. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contracts.errors import ImportFormatError
from experiments.moments import Floats
from experiments.sequences import FIRST_APART, FIRST_LOOK, interval
from experiments.tables import Table


@dataclass(frozen=True, slots=True)
class Preference:
    """Mean credit a unit, and the ends of its always-valid interval: above 0, `second` is preferred. `wins`: units that
    clicked more of the first, and of the second. `early` says why the interval does not hold yet.
    """

    first: str
    second: str
    units: int
    wins: tuple[int, int]
    mean: float
    ends: tuple[float, float]
    early: str

    @property
    def preferred(self) -> str | None:
        """The variant that is preferred; None where that is not known."""
        if self.early or self.ends[0] <= 0.0 <= self.ends[1]:
            return None
        return self.second if self.mean > 0.0 else self.first


def preferred(table: Table, planned: int) -> Preference:
    """Return what a table of units (`first`, `second`: the variants; `credit`) says.

    Raises ImportFormatError: units of other pairs of variants, an empty credit, fewer than two units.
    """
    first, second = table.texts["first"].names, table.texts["second"].names
    credits = table.numbers["credit"]
    if len(first) != 1 or len(second) != 1:
        raise ImportFormatError(f"expected units of one pair of variants, got {first} and {second}")
    if len(credits) < 2 or np.isnan(credits).any():
        raise ImportFormatError(f"expected two units or more, each with a credit, got {len(credits)}")
    mean, low, high = preference(credits, planned)
    apart = int((credits != 0.0).sum())
    early = ""
    if len(credits) < FIRST_LOOK or apart < FIRST_APART:
        early = f"{len(credits):,} units of {FIRST_LOOK}, {apart:,} of {FIRST_APART} that preferred one"
    wins = (int((credits < 0.0).sum()), int((credits > 0.0).sum()))
    return Preference(first[0], second[0], len(credits), wins, mean, (low, high), early)


def said(found: Preference) -> str:
    """Return the decision in one sentence."""
    counted = f"{found.units:,} units; {found.first} {found.wins[0]:,}, {found.second} {found.wins[1]:,}"
    if found.early:
        return f"Wait: too early to tell ({found.early})."
    credit = f"mean credit {found.mean:+.4f} [{found.ends[0]:+.4f}, {found.ends[1]:+.4f}] a unit"
    if found.preferred is None:
        return f"Go on: neither {found.first} nor {found.second} is preferred yet, {credit} ({counted})."
    other = found.first if found.preferred == found.second else found.second
    return f"{found.preferred} is preferred to {other}: {credit} ({counted})."


def preference(credits: Floats, planned: int) -> tuple[float, float, float]:
    """Return the mean credit a unit (n,) and the ends of its always-valid interval: above 0, the second is preferred.

    Units are independent: sum the credits of a visitor's pages first. Raises ValueError for fewer than two.
    """
    if len(credits) < 2:
        raise ValueError(f"expected the credits of two units or more, got {len(credits)}")
    mean = float(credits.mean())
    low, high = interval(mean, float(credits.var(ddof=1)) / len(credits), len(credits), planned)
    return mean, float(low), float(high)
