"""Shares of bandit experiments: from pages and clicks by hour to what gateways draw by. Pure, but for `write_shares`.

A page earns 1 if it was clicked: sums say clicks, of which a page counts one at most (`min(clicks, pages)`). A page
that was shown a moment ago and is not clicked yet counts as one without a click, for every variant alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

import numpy as np

from contracts.bandit_shares import WHOLE, BanditShares, cell_of, encode_shares
from contracts.experiments import Bandit, ExperimentVersion
from experiments.thompson import Floats, Sums, cell_posterior, posterior, shares

HOUR_MS: Final = 3_600_000
_HALF_LIVES: Final = 10
"""Hours so old count less than a thousandth, and are not read."""


class VariantHour(Protocol):
    """Pages and clicks of a variant in one hour since 1970, of visitors of one kind (`attribution.sums`)."""

    @property
    def hour(self) -> int: ...
    @property
    def variant(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def returning(self) -> str: ...
    @property
    def pages(self) -> float: ...
    @property
    def clicks(self) -> float: ...


class Writes(Protocol):
    def write(self, name: str, record: bytes) -> None:
        """Keep the record of an experiment. Raises StateUnavailable."""


def shares_of(version: ExperimentVersion, sums: Iterable[VariantHour], now_ms: int) -> dict[str, tuple[float, ...]]:
    """Return the share (k,) of each variant, by cell of the context (`contracts.bandit_shares.cell_of`).

    A cell is there once a page of it was shown. Raises ValueError for an experiment that is no bandit.
    """
    bandit = version.experiment.bandit
    if bandit is None:
        raise ValueError(f"expected a bandit experiment, got {version.name!r}, whose shares are fixed")
    variants = {variant.name: at for at, variant in enumerate(version.experiment.variants)}
    cells: dict[str, Floats] = defaultdict(lambda: np.zeros((2, len(variants))))
    for one in sums:
        if (at := variants.get(one.variant)) is None or one.pages <= 0:
            continue
        weight = _weight(bandit, one.hour, now_ms)
        earned = weight * np.array([one.pages, min(one.clicks, one.pages)])
        for cell in {WHOLE, cell_of(bandit.context, one.device, one.returning)}:
            cells[cell][:, at] += earned
    whole = Sums(now_ms, *cells[WHOLE])
    found = {
        cell: posterior(whole) if cell == WHOLE else cell_posterior(Sums(now_ms, *counts), whole)
        for cell, counts in cells.items()
    }
    return {cell: tuple(shares(*beta, bandit.floor).tolist()) for cell, beta in found.items()}


def hours_of(version: ExperimentVersion, now_ms: int) -> tuple[int, int]:
    """Return the first and the last hour since 1970 that count for a bandit experiment."""
    bandit = version.experiment.bandit
    reach_ms = 0 if bandit is None else _HALF_LIVES * _half_life_ms(bandit)
    first_ms = max(version.started_ms, now_ms - reach_ms)
    return int(first_ms // HOUR_MS), now_ms // HOUR_MS


def write_shares(
    store: Writes,
    versions: Sequence[ExperimentVersion],
    sums: Callable[[str, int, int], Iterable[VariantHour]],
    now_ms: int,
) -> int:
    """Write the shares of those bandits that run; return how many these are. Raises StateUnavailable.

    sums: returns what is known of an experiment from one hour to another, both of them counted.
    """
    written = 0
    for version in versions:
        if version.experiment.bandit is None or not version.runs_at(now_ms):
            continue
        first, last = hours_of(version, now_ms)
        cells = shares_of(version, (one for one in sums(version.name, first, last) if one.hour >= first), now_ms)
        names = tuple(variant.name for variant in version.experiment.variants)
        store.write(version.name, encode_shares(BanditShares(version.started_ms, now_ms, names, cells)))
        written += 1
    return written


def _weight(bandit: Bandit, hour: int, now_ms: int) -> float:
    """Return what a page of an hour counts: by the age of the hour's middle."""
    age_ms = max(0.0, now_ms - (hour + 0.5) * HOUR_MS)
    return float(0.5 ** (age_ms / _half_life_ms(bandit)))


def _half_life_ms(bandit: Bandit) -> float:
    return 1000.0 * bandit.half_life.total_seconds()
