"""Drift: how far what a re-ranker reads now is from what it learnt from. Pure.

A baseline is kept with the re-ranker: for each feature, and for the score, edges that cut the training rows into ten
parts of about one size, and the share of rows in each. Missing values, and values beyond all that were learnt from,
have parts of their own.

The population stability index is the sum of (now - then) * ln(now / then) over the parts; by custom, below 0.1 nothing
moved and above 0.25 it did (Siddiqi, Credit Risk Scorecards, 2006). The Kolmogorov-Smirnov distance is the largest
difference of the two cumulative shares, read at the edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

SCORE: Final = "score"
"""Name of what the trees make of the features."""
PARTS: Final = 10
LEAST_SHARE: Final = 1e-4
"""A part that has less counts as so much: an empty one would make the index endless."""

Floats = NDArray[np.float64]


class Drift(NamedTuple):
    """How far one feature moved: population stability index, and Kolmogorov-Smirnov distance."""

    name: str
    psi: float
    ks: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """`names` (f,); `edges`: of each the inner ones, rising, (k,); `shares` of each (k + 2,), missing values first."""

    names: tuple[str, ...]
    edges: tuple[Floats, ...]
    shares: tuple[Floats, ...]

    @classmethod
    def of(cls, names: Sequence[str], rows: NDArray[np.float32]) -> Self:
        """Return the baseline of training rows (n, f), n at least 1."""
        edges = tuple(_edges(column) for column in rows.T)
        counts = [parts_of(column, cuts) for column, cuts in zip(rows.T, edges, strict=True)]
        return cls(tuple(names), edges, tuple(count / len(rows) for count in counts))

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "edges": cuts.tolist(), "shares": np.round(shares, 6).tolist()}
            for name, cuts, shares in zip(self.names, self.edges, self.shares, strict=True)
        ]

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what `as_json` made. Raises ValueError for anything else."""
        try:
            names = tuple(str(one["name"]) for one in document)
            edges = tuple(np.array(one["edges"], np.float64) for one in document)
            shares = tuple(np.array(one["shares"], np.float64) for one in document)
        except (TypeError, KeyError) as error:
            raise ValueError(f"expected a list of name, edges and shares ({error!r:.100})") from error
        for name, cuts, share in zip(names, edges, shares, strict=True):
            whole = cuts.ndim == share.ndim == 1 and len(share) == len(cuts) + 2
            if not (whole and np.isfinite(cuts).all() and (np.diff(cuts) > 0).all() and (share >= 0).all()):
                raise ValueError(f"{name}: expected rising edges, and two shares more than edges")
        return cls(names, edges, shares)


class Counted:
    """Rows counted by the parts of a baseline."""

    def __init__(self, baseline: Baseline) -> None:
        self.baseline = baseline
        self.pages = 0
        self._counts = [np.zeros(len(cuts) + 2) for cuts in baseline.edges]

    def count(self, rows: NDArray[np.float32]) -> None:
        """Count the candidates of one page, (n, f)."""
        self.pages += 1
        for at, cuts in enumerate(self.baseline.edges):
            self._counts[at] += parts_of(rows[:, at], cuts)

    def add(self, other: Counted) -> None:
        """Count what another of the same baseline did."""
        self.pages += other.pages
        self._counts = [own + counts for own, counts in zip(self._counts, other._counts, strict=True)]

    def drifts(self) -> list[Drift]:
        """Return how far each feature moved; nothing before anything was counted."""
        found = []
        for name, then, counts in zip(self.baseline.names, self.baseline.shares, self._counts, strict=True):
            total = float(counts.sum())
            if total:
                found.append(Drift(name, psi(then, counts / total), ks(then, counts / total)))
        return found


def parts_of(column: NDArray[np.float32], edges: Floats) -> Floats:
    """Return how many values of a column (n,) are missing, and in each part between the edges (k,): (k + 2,)."""
    missing = np.isnan(column)
    places = np.where(missing, 0, np.searchsorted(edges, column, side="left") + 1)
    return np.bincount(places, minlength=len(edges) + 2).astype(np.float64)


def psi(then: Floats, now: Floats) -> float:
    """Return the population stability index of two rows of shares, (k,) each."""
    was, found = np.maximum(then, LEAST_SHARE), np.maximum(now, LEAST_SHARE)
    return float(((found - was) * np.log(found / was)).sum())


def ks(then: Floats, now: Floats) -> float:
    """Return the largest difference of two cumulative rows of shares, (k,) each."""
    return float(np.abs(np.cumsum(now) - np.cumsum(then)).max())


def _edges(column: NDArray[np.float32]) -> Floats:
    """Return where a column is cut: at its tenths, without those that it has twice, and around all of it, so that what
    lies beyond has parts of its own.
    """
    known = column[~np.isnan(column)]
    if not len(known):
        return np.zeros(0)
    cuts = np.quantile(known, np.arange(1, PARTS + 1) / PARTS, method="lower")
    below = np.nextafter(known.min(), np.float32(-np.inf))
    edges = np.unique(np.append(cuts, below).astype(np.float64))
    return edges[np.isfinite(edges)]
