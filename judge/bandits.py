"""Shares of bandit experiments: from pages and clicks by hour to what gateways draw by. Pure, but for `SharesJob`.

A page earns 1 if it was clicked. Sums know clicks, not clicked pages: clicks count, up to one a page on average. A page
that was shown a moment ago and is not clicked yet counts as one without a click, for every variant alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

import numpy as np

from attribution.sums import HOURS_A_DAY, VariantHour
from attribution.sums import hours_of as decoded
from contracts.bandit_shares import WHOLE, BanditShares, cell_of, encode_shares
from contracts.experiments import Bandit, ExperimentVersion
from contracts.settings import RedisSettings
from experiments.thompson import Floats, Sums, cell_posterior, posterior, shares
from state.bandit_shares import SharesWriter
from state.experiment_rows import ExperimentRows

SHARES_EVERY_S: Final = 2.0
"""How often they are written."""
HOUR_MS: Final = 3_600_000
_HALF_LIVES: Final = 10
"""Hours so old count less than a thousandth, and are not read."""


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
        if (at := variants.get(one.variant)) is None:
            continue
        earned = _weight(bandit, one.hour, now_ms) * np.array([one.pages, one.clicks])
        for cell in {WHOLE, cell_of(bandit.context, one.device, one.returning)}:
            cells[cell][:, at] += earned
    whole = _sums(cells[WHOLE], now_ms)
    found = {
        cell: posterior(whole) if cell == WHOLE else cell_posterior(_sums(counts, now_ms), whole)
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
        cells = shares_of(version, sums(version.name, first, last), now_ms)
        names = tuple(variant.name for variant in version.experiment.variants)
        store.write(version.name, encode_shares(BanditShares(version.started_ms, now_ms, names, cells)))
        written += 1
    return written


class SharesJob:
    """Writes shares from what the attribution flow keeps. For one thread. Raises StateUnavailable."""

    def __init__(
        self, settings: RedisSettings, running: Callable[[], Sequence[ExperimentVersion]], clock: Callable[[], int]
    ) -> None:
        """`running`: returns the experiments; those that do not run, and those that are no bandits, are passed by."""
        self._rows, self._store = ExperimentRows(settings), SharesWriter(settings)
        self._running, self._clock = running, clock

    def write(self) -> None:
        """Write the shares of all bandits that run."""
        write_shares(self._store, self._running(), self._sums, self._clock())

    def close(self) -> None:
        self._rows.close()
        self._store.close()

    def _sums(self, name: str, first: int, last: int) -> Iterator[VariantHour]:
        days = range(first // HOURS_A_DAY, last // HOURS_A_DAY + 1)
        return (one for one in decoded(self._rows.sums(name, days)) if one.hour >= first)


def _sums(counts: Floats, now_ms: int) -> Sums:
    """Return sums of pages and clicks (2, k): no more clicks than pages, and none below 0."""
    pages = np.maximum(counts[0], 0.0)
    return Sums(now_ms, pages, np.clip(counts[1], 0.0, pages))


def _weight(bandit: Bandit, hour: int, now_ms: int) -> float:
    """Return what a page of an hour counts: by the age of the hour's middle."""
    age_ms = max(0.0, now_ms - (hour + 0.5) * HOUR_MS)
    return float(0.5 ** (age_ms / _half_life_ms(bandit)))


def _half_life_ms(bandit: Bandit) -> float:
    return 1000.0 * bandit.half_life.total_seconds()
